"""The MQTT connection of the Pi agent, through paho-mqtt.

The agent's uplink alone decides when to connect again; here one attempt is one session, with
a thread of paho's that ends with it.
"""

import queue
import ssl
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from wattlog import records
from wattlog.uplink import LinkError
from wattlog_pi.settings import MqttSettings

KEEPALIVE_S = 30
CONNECT_S_MAX = 10
RECEIVED_MAX = 256  # messages waiting for the agent; more than it ever gets are dropped


class _Session:
    """One connection from its attempt to its end; what is left of it cannot touch the next."""

    def __init__(self, settings: MqttSettings, edge: str, boot: int, will: bytes) -> None:
        self.received: queue.Queue[tuple[str, bytes]] = queue.Queue(RECEIVED_MAX)
        self.is_up = False
        self.failure: str | None = None
        self._settings = settings
        leaves = (records.ACK, records.STATUS, records.COMMAND)
        self._topics = [(records.topic(edge, leaf), 0) for leaf in leaves]
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"wattlog-{edge}-{boot:08x}",
            clean_session=True,
            reconnect_on_failure=False,
        )
        self.client.connect_timeout = CONNECT_S_MAX
        self.client.will_set(records.topic(edge, records.STATUS), will, qos=0, retain=True)
        if settings.username is not None:
            self.client.username_pw_set(settings.username, settings.password)
        if settings.tls:
            try:
                # Python's default: the certificate is verified, and its name is.
                self.client.tls_set_context(ssl.create_default_context(cafile=settings.ca_file))
            except (OSError, ValueError) as err:
                raise LinkError(f"CA file {settings.ca_file}: {err}") from None
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.on_disconnect = self._on_disconnect
        threading.Thread(target=self._run, name="mqtt", daemon=True).start()

    def _run(self) -> None:
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            self.client.connect(self._settings.host, self._settings.port, KEEPALIVE_S)
            self.client.loop_forever(retry_first_connection=False)
        except Exception as err:  # noqa: BLE001 - whatever ends this thread, the agent must know
            self._fail(f"{where}: {getattr(err, 'strerror', None) or err or type(err).__name__}")
        self._fail(f"{where}: the connection was closed")

    def _fail(self, why: str) -> None:
        self.is_up = False
        self.failure = self.failure or why

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: object, code: ReasonCode, _props: object
    ) -> None:
        if code.is_failure:
            self._fail(f"{self._settings.host} refuses us: {str(code).lower()}")
        else:
            client.subscribe(self._topics)

    def _on_subscribe(
        self, _client: object, _data: object, _mid: int, codes: list[ReasonCode], _props: object
    ) -> None:
        if any(code.is_failure for code in codes):
            self._fail(f"{self._settings.host} does not let us subscribe: check the broker's ACL")
        else:
            self.is_up = True

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        try:
            self.received.put_nowait((message.topic, bytes(message.payload)))
        except queue.Full:
            return  # acknowledgements are repeated; see RECEIVED_MAX

    def _on_disconnect(
        self, _client: object, _data: object, _flags: object, code: ReasonCode, _props: object
    ) -> None:
        self._fail(f"{self._settings.host}: the connection was lost ({str(code).lower()})")


class MqttLink:
    """A Link for wattlog.uplink."""

    def __init__(self, settings: MqttSettings, edge: str, boot: int) -> None:
        self._settings = settings
        self._edge = edge
        self._boot = boot
        self._session: _Session | None = None

    def open(self, will: bytes) -> None:
        """Begin to connect; is_up() tells how it went."""
        self.close()
        self._session = _Session(self._settings, self._edge, self._boot, will)

    def is_up(self) -> bool:
        """Tell whether we are connected and subscribed; raises LinkError when that failed."""
        session = self._session
        if session is None:
            return False
        if session.failure is not None:
            raise LinkError(session.failure)
        return session.is_up

    def publish(self, topic: str, payload: bytes | memoryview, retain: bool) -> None:
        """Hand one message to paho's thread, QoS 0."""
        if not self.is_up() or self._session is None:
            raise LinkError("not connected")
        result = self._session.client.publish(topic, bytes(payload), qos=0, retain=retain)
        if result.rc != paho.MQTT_ERR_SUCCESS:
            raise LinkError(paho.error_string(result.rc).lower())

    def receive(self) -> tuple[str, bytes] | None:
        """Return the next message, or None."""
        if self._session is None:
            return None
        try:
            return self._session.received.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the session; its thread follows."""
        if self._session is not None:
            self._session.client.disconnect()
            self._session = None
