"""Who may do what: the password of the page, tokens of programs, credentials of devices."""
