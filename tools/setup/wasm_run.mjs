// Runs MicroPython for WebAssembly like the program `micropython`:
//     node wasm_run.mjs -c CODE
//     node wasm_run.mjs FILE [ARG...]
// MICROPYPATH (folders, separated by ":") is sys.path; the *.py below it are copied into the
// interpreter's own file system first, as are the files that FILES names (also separated by ":").
// Exit status: 0, 1 after an exception, or what sys.exit() was given.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const HEAP_BYTES = 1024 * 1024;  // where it starts: this port's heap grows and cannot be limited

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const home = join(root, ".tools/wasm/node_modules/@micropython/micropython-webassembly-pyscript");
const { loadMicroPython } = await import(pathToFileURL(join(home, "micropython.mjs")).href);

const mp = await loadMicroPython({
    url: join(home, "micropython.wasm"),
    heapsize: HEAP_BYTES,
    stdout: (line) => console.log(line),
    stderr: (line) => console.error(line),
});

function makeFolder(path) {
    let folder = "";
    for (const part of path.split("/").filter(Boolean)) {
        folder += "/" + part;
        if (!mp.FS.analyzePath(folder).exists) mp.FS.mkdir(folder);
    }
}

function copyFile(path) {
    makeFolder(dirname(path));
    mp.FS.writeFile(path, readFileSync(path));
}

function copySources(folder) {
    makeFolder(folder);
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) copySources(path);
        else if (entry.name.endsWith(".py")) copyFile(path);
    }
}

const [program, ...args] = process.argv.slice(2);
const searched = (process.env.MICROPYPATH ?? "").split(":").filter(Boolean).map((p) => resolve(p));
for (const folder of searched) if (existsSync(folder)) copySources(folder);
for (const name of (process.env.FILES ?? "").split(":").filter(Boolean)) copyFile(resolve(name));

const argv = program === "-c" ? ["-c"] : [resolve(program), ...args];
const code = program === "-c" ? args[0] : readFileSync(program, "utf8");
const prologue = `import sys
sys.path[:] = ${JSON.stringify(searched)} + [".frozen"]
sys.argv[:] = ${JSON.stringify(argv)}
`;
try {
    mp.runPython(prologue + "del sys\n");
    mp.runPython(code);
} catch (error) {
    // SystemExit arrives as an exception whose text is its argument.
    const status = error.type === "SystemExit" ? Number(error.message.split(":").pop() || 0) : 1;
    if (error.type !== "SystemExit") console.error(error.message);
    process.exit(Number.isNaN(status) ? 1 : status);
}
