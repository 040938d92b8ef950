//! The options of interpreters that take an operand, each from its manual.

use super::grammar::{Grammar, Operand::*, Positional};

/// python3(1), python(1) of version 2; doc.pypy.org, "Command line reference".
pub(super) static PYTHON: Grammar = Grammar {
    short: &[(b'c', Code), (b'm', Module), (b'W', Value), (b'X', Value), (b'Q', Value)],
    long: &[(b"--check-hash-based-pycs", Value), (b"--jit", Value)],
    ..Grammar::PLAIN
};
/// perlrun(1).
pub(super) static PERL: Grammar = Grammar {
    short: &[(b'e', Code), (b'E', Code), (b'I', Value)],
    attached: b"iMmxdDCF",
    ..Grammar::PLAIN
};
/// ruby(1); `proc_long_options` in ruby.c.
pub(super) static RUBY: Grammar = Grammar {
    short: &[
        (b'e', Code),
        (b'I', Value),
        (b'r', Value),
        (b'C', Value),
        (b'X', Value),
        (b'E', Value),
    ],
    attached: b"iKWTxF",
    long: &[
        (b"--enable", Value),
        (b"--disable", Value),
        (b"--encoding", Value),
        (b"--external-encoding", Value),
        (b"--internal-encoding", Value),
        (b"--dump", Value),
        (b"--parser", Value),
        (b"--backtrace-limit", Value),
        (b"--crash-report", Value),
    ],
    ..Grammar::PLAIN
};
/// node(1): the options that are no flag, as `internalBinding("options")` of versions 20, 24 and 25
/// lists them. An option of V8's own has its value behind `=` only. A script of `--run` is a line of
/// package.json.
pub(super) static NODE: Grammar = Grammar {
    short: &[(b'e', Code), (b'p', Code), (b'r', Value), (b'C', Value)],
    long: &[
        (b"--eval", Code),
        (b"--print", Code),
        (b"--run", Code),
        (b"--allow-fs-read", Value),
        (b"--allow-fs-write", Value),
        (b"--build-sea", Value),
        (b"--build-snapshot-config", Value),
        (b"--conditions", Value),
        (b"--cpu-prof-dir", Value),
        (b"--cpu-prof-interval", Value),
        (b"--cpu-prof-name", Value),
        (b"--debug-port", Value),
        (b"--diagnostic-dir", Value),
        (b"--disable-proto", Value),
        (b"--disable-warning", Value),
        (b"--dns-result-order", Value),
        (b"--env-file", Value),
        (b"--env-file-if-exists", Value),
        (b"--es-module-specifier-resolution", Value),
        (b"--experimental-config-file", Value),
        (b"--experimental-default-type", Value),
        (b"--experimental-loader", Value),
        (b"--experimental-package-map", Value),
        (b"--experimental-policy", Value),
        (b"--experimental-sea-config", Value),
        (b"--experimental-specifier-resolution", Value),
        (b"--experimental-test-tag-filter", Value),
        (b"--heap-prof-dir", Value),
        (b"--heap-prof-interval", Value),
        (b"--heap-prof-name", Value),
        (b"--heapsnapshot-near-heap-limit", Value),
        (b"--heapsnapshot-signal", Value),
        (b"--icu-data-dir", Value),
        (b"--import", Value),
        (b"--input-type", Value),
        (b"--inspect-port", Value),
        (b"--inspect-publish-uid", Value),
        (b"--loader", Value),
        (b"--localstorage-file", Value),
        (b"--max-http-header-size", Value),
        (b"--max-old-space-size-percentage", Value),
        (b"--network-family-autoselection-attempt-timeout", Value),
        (b"--openssl-config", Value),
        (b"--policy-integrity", Value),
        (b"--redirect-warnings", Value),
        (b"--report-dir", Value),
        (b"--report-directory", Value),
        (b"--report-filename", Value),
        (b"--report-signal", Value),
        (b"--require", Value),
        (b"--secure-heap", Value),
        (b"--secure-heap-min", Value),
        (b"--security-revert", Value),
        (b"--security-reverts", Value),
        (b"--snapshot-blob", Value),
        (b"--stack-trace-limit", Value),
        (b"--test-concurrency", Value),
        (b"--test-coverage-branches", Value),
        (b"--test-coverage-exclude", Value),
        (b"--test-coverage-functions", Value),
        (b"--test-coverage-include", Value),
        (b"--test-coverage-lines", Value),
        (b"--test-global-setup", Value),
        (b"--test-isolation", Value),
        (b"--test-name-pattern", Value),
        (b"--test-random-seed", Value),
        (b"--test-reporter", Value),
        (b"--test-reporter-destination", Value),
        (b"--test-rerun-failures", Value),
        (b"--test-shard", Value),
        (b"--test-skip-pattern", Value),
        (b"--test-timeout", Value),
        (b"--title", Value),
        (b"--tls-cipher-list", Value),
        (b"--tls-keylog", Value),
        (b"--trace-event-categories", Value),
        (b"--trace-event-file-pattern", Value),
        (b"--trace-require-module", Value),
        (b"--unhandled-rejections", Value),
        (b"--use-largepages", Value),
        (b"--v8-pool-size", Value),
        (b"--watch-kill-signal", Value),
        (b"--watch-path", Value),
    ],
    ..Grammar::PLAIN
};
/// docs.deno.com, "deno run": permissions have their value behind `=` only.
pub(super) static DENO: Grammar = Grammar {
    short: &[(b'c', Value), (b'L', Value)],
    attached: b"RWNESIr",
    long: &[
        (b"--config", Value),
        (b"--import-map", Value),
        (b"--cert", Value),
        (b"--location", Value),
        (b"--seed", Value),
        (b"--ext", Value),
        (b"--log-level", Value),
        (b"--conditions", Value),
        (b"--preload", Value),
        (b"--require", Value),
        (b"--host", Value),
        (b"--port", Value),
        (b"--minimum-dependency-age", Value),
    ],
    ..Grammar::PLAIN
};
/// bun.com/docs, "bun run".
pub(super) static BUN: Grammar = Grammar {
    short: &[
        (b'e', Code),
        (b'p', Code),
        (b'r', Value),
        (b'c', Value),
        (b'F', Value),
        (b'd', Value),
        (b'l', Value),
    ],
    long: &[
        (b"--eval", Code),
        (b"--print", Code),
        (b"--preload", Value),
        (b"--require", Value),
        (b"--import", Value),
        (b"--cwd", Value),
        (b"--env-file", Value),
        (b"--port", Value),
        (b"--filter", Value),
        (b"--conditions", Value),
        (b"--fetch-preconnect", Value),
        (b"--max-http-header-size", Value),
        (b"--dns-result-order", Value),
        (b"--title", Value),
        (b"--define", Value),
        (b"--drop", Value),
        (b"--loader", Value),
        (b"--main-fields", Value),
        (b"--extension-order", Value),
        (b"--tsconfig-override", Value),
        (b"--jsx-factory", Value),
        (b"--jsx-fragment", Value),
        (b"--jsx-import-source", Value),
        (b"--jsx-runtime", Value),
        (b"--install", Value),
        (b"--shell", Value),
        (b"--elide-lines", Value),
        (b"--unhandled-rejections", Value),
        (b"--console-depth", Value),
        (b"--user-agent", Value),
    ],
    ..Grammar::PLAIN
};
/// php(1); with `-S`, the script routes requests.
pub(super) static PHP: Grammar = Grammar {
    short: &[
        (b'r', Code),
        (b'B', Code),
        (b'R', Code),
        (b'E', Code),
        (b'f', File),
        (b'F', File),
        (b'c', Value),
        (b'd', Value),
        (b'z', Value),
        (b'S', Value),
        (b't', Value),
        (b'b', Value),
        (b'T', Value),
    ],
    long: &[
        (b"--run", Code),
        (b"--process-begin", Code),
        (b"--process-code", Code),
        (b"--process-end", Code),
        (b"--file", File),
        (b"--process-file", File),
        (b"--define", Value),
        (b"--php-ini", Value),
        (b"--zend-extension", Value),
        (b"--server", Value),
        (b"--docroot", Value),
    ],
    ..Grammar::PLAIN
};
/// lua(1); luajit.org, "Running LuaJIT".
pub(super) static LUA: Grammar = Grammar {
    short: &[(b'e', Preamble), (b'l', Value), (b'j', Value)],
    attached: b"O",
    ..Grammar::PLAIN
};
/// R(1): the script stands behind an option, which `Rscript` adds.
pub(super) static R: Grammar = Grammar {
    long: &[
        (b"-e", Code),
        (b"-f", File),
        (b"--file", File),
        (b"-g", Value),
        (b"--gui", Value),
        (b"-d", Value),
        (b"--debugger", Value),
        (b"--args", Code),
    ],
    positional: Positional::Data,
    single_dash: true,
    ..Grammar::PLAIN
};
/// Rscript(1).
pub(super) static RSCRIPT: Grammar = Grammar { short: &[(b'e', Code)], ..Grammar::PLAIN };
/// r(1) of littler.
pub(super) static LITTLER: Grammar = Grammar {
    short: &[(b'e', Code), (b'l', Value), (b'L', Value)],
    long: &[(b"--eval", Code), (b"--packages", Value), (b"--libpath", Value)],
    ..Grammar::PLAIN
};
/// raku(1).
pub(super) static RAKU: Grammar =
    Grammar { short: &[(b'e', Code), (b'I', Value), (b'M', Value)], ..Grammar::PLAIN };
/// gjs(1).
pub(super) static GJS: Grammar = Grammar {
    short: &[(b'c', Code), (b'I', Value), (b'C', Value)],
    long: &[(b"--command", Code), (b"--include-path", Value), (b"--coverage-prefix", Value)],
    ..Grammar::PLAIN
};
/// tclsh(1).
pub(super) static TCL: Grammar =
    Grammar { long: &[(b"-encoding", Value)], single_dash: true, ..Grammar::PLAIN };
/// expect(1).
pub(super) static EXPECT: Grammar =
    Grammar { short: &[(b'c', Preamble), (b'D', Value), (b'f', File)], ..Grammar::PLAIN };
/// gawk(1), mawk(1).
pub(super) static AWK: Grammar = Grammar {
    short: &[
        (b'f', File),
        (b'E', File),
        (b'F', Value),
        (b'v', Value),
        (b'W', Value),
        (b'e', Code),
        (b'i', Value),
        (b'l', Value),
    ],
    attached: b"dopLD",
    long: &[
        (b"--file", File),
        (b"--exec", File),
        (b"--source", Code),
        (b"--field-separator", Value),
        (b"--assign", Value),
        (b"--include", Value),
        (b"--load", Value),
    ],
    positional: Positional::Code,
    ..Grammar::PLAIN
};
/// julia(1): every long option whose operand may not be left out.
pub(super) static JULIA: Grammar = Grammar {
    short: &[
        (b'e', Code),
        (b'E', Code),
        (b'm', Module),
        (b'L', Value),
        (b'J', Value),
        (b'H', Value),
        (b'C', Value),
        (b't', Value),
        (b'p', Value),
    ],
    attached: b"Og",
    long: &[
        (b"--eval", Code),
        (b"--print", Code),
        (b"--module", Module),
        (b"--load", Value),
        (b"--sysimage", Value),
        (b"--home", Value),
        (b"--cpu-target", Value),
        (b"--threads", Value),
        (b"--gcthreads", Value),
        (b"--procs", Value),
        (b"--machine-file", Value),
        (b"--startup-file", Value),
        (b"--history-file", Value),
        (b"--color", Value),
        (b"--compile", Value),
        (b"--compiled-modules", Value),
        (b"--pkgimages", Value),
        (b"--inline", Value),
        (b"--check-bounds", Value),
        (b"--math-mode", Value),
        (b"--depwarn", Value),
        (b"--warn-overwrite", Value),
        (b"--warn-scope", Value),
        (b"--min-optlevel", Value),
        (b"--handle-signals", Value),
        (b"--bind-to", Value),
        (b"--heap-size-hint", Value),
    ],
    ..Grammar::PLAIN
};
/// guile(1).
pub(super) static GUILE: Grammar = Grammar {
    long: &[
        (b"-c", Code),
        (b"-s", File),
        (b"-l", Value),
        (b"-L", Value),
        (b"-C", Value),
        (b"-x", Value),
        (b"-e", Value),
    ],
    single_dash: true,
    ..Grammar::PLAIN
};
/// octave(1).
pub(super) static OCTAVE: Grammar = Grammar {
    short: &[(b'p', Value)],
    long: &[
        (b"--eval", Code),
        (b"--path", Value),
        (b"--exec-path", Value),
        (b"--image-path", Value),
        (b"--info-file", Value),
        (b"--info-program", Value),
        (b"--doc-cache-file", Value),
        (b"--texi-macros-file", Value),
    ],
    ..Grammar::PLAIN
};
/// mono(1).
pub(super) static MONO: Grammar =
    Grammar { long: &[(b"--config", Value)], single_dash: true, ..Grammar::PLAIN };
/// The options of .NET's host before the application: learn.microsoft.com, "dotnet command".
pub(super) static DOTNET: Grammar = Grammar {
    long: &[
        (b"--additionalprobingpath", Value),
        (b"--additional-deps", Value),
        (b"--depsfile", Value),
        (b"--runtimeconfig", Value),
        (b"--fx-version", Value),
        (b"--roll-forward", Value),
        (b"--roll-forward-on-no-candidate-fx", Value),
    ],
    single_dash: true,
    ..Grammar::PLAIN
};
