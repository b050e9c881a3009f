#!/bin/sh
# What `npm start` and `npm test` run: sets the machine up as far as it is not, builds, then hands over to Node.
#   enter.sh start [--dry-run] [ROLE [ARGUMENT…]]     tributary ROLE, `up` by default
#   enter.sh test [--dry-run] [FOLDER|FILE…]          all tests, or those in there
#   enter.sh bench NAME [OPTION…]                     a benchmark
#   enter.sh tools                                    only installs what `npm run lint` needs
# It is a shell script because before it ran there may be no Node that understands the rest of the program.
set -eu
cd "$(dirname "$0")/../.."
ROOT=$PWD
NODE=$ROOT/node_modules/.bin/node
# npm puts node_modules/.bin before everything else, and would itself be run by the Node there, which may not run yet.
kept=''
IFS=:
for folder in $PATH; do
  case $folder in
    */node_modules/.bin) ;;
    *) kept=$kept${kept:+:}$folder ;;
  esac
done
unset IFS
PATH=$kept
# nginx and nft are not on the path of an ordinary user, nor is Go where its own archive puts it.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
started=$(date +%s)
step_pid=''

. host/launch/packages.sh

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

# An interrupt lets a running step come to its end, because half-installed packages are worse than a wait; a second one does not wait.
clean_up() {
  if [ -n "$step_pid" ]; then
    printf '\n%s: stopping when this step is done\n' "$title" >&2
    wait "$step_pid" || true
  fi
  allow_services
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run_step TITLE COMMAND…: counts seconds while the command runs; shows its output only when it fails.
run_step() {
  title=$1
  shift
  log=$(mktemp)
  step_started=$(date +%s)
  "$@" >"$log" 2>&1 </dev/null &
  step_pid=$!
  while kill -0 "$step_pid" 2>/dev/null; do
    seconds=$(($(date +%s) - step_started))
    if [ -t 2 ]; then
      printf '\r\033[K%s: %s s' "$title" "$seconds" >&2
    elif [ $((seconds % 20)) = 19 ]; then
      printf '%s: %s s\n' "$title" "$seconds" >&2
    fi
    sleep 1
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
  printf '%s: %s s\n' "$title" $(($(date +%s) - step_started)) >&2
  status=0
  wait "$step_pid" || status=$?
  step_pid=''
  if [ "$status" != 0 ]; then
    cat "$log" >&2
    rm -f "$log"
    fail "$title failed (exit code $status)."
  fi
  rm -f "$log"
}

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "Tributary observes Linux kernels; this is $(uname -s). Run it in a Linux machine."
  case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "There is no Node binary for $(uname -m) among this project's packages; x86_64 and aarch64 have one." ;;
  esac
}

# npm before 9.2 was not tried. It brings the Node that runs the program, so the version of its own does not matter.
check_npm() {
  found=$(npm --version 2>/dev/null) ||
    fail "npm is missing, which fetches everything else: install it with a Node of any version ($(install_command 'npm npm npm npm npm brings the packages'))."
  case $found in
    [0-8].* | 9.[01].*) fail "npm $found is too old: 9.2 of Debian 12 is the oldest that was tried. A newer one: npm install -g npm@11" ;;
  esac
}

# npm writes its own lock file into node_modules last, so an interrupted installation counts as none.
node_modules_are_current() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && [ -e "$NODE" ]
}

# npm 9.2 of Debian 12 links executables while packages are still being unpacked and leaves out those that are not there yet,
# Node among them; rebuild links the rest. No package of ours needs its install script.
npm_install() {
  npm ci --no-audit --no-fund --ignore-scripts --loglevel=error &&
    npm rebuild --ignore-scripts --loglevel=error
}

install_node_modules() {
  if ! node_modules_are_current; then
    check_npm
    name_distribution
    run_step 'npm ci' npm_install
  fi
  [ -e "$NODE" ] || fail 'npm left out the optional packages node-linux-*; run: npm ci --include=optional'
  complaint=$("$NODE" --version 2>&1 >/dev/null) && return
  case $complaint in
    *libatomic.so.1*) install_libatomic ;;
    *) fail "The Node binary in node_modules does not run here: $complaint" ;;
  esac
}

# Not in packages.txt: whether it is missing only the binary itself can tell.
install_libatomic() {
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    fail 'Node 26 needs the library libatomic.so.1. As root: apt-get install libatomic1 (Fedora: dnf install libatomic)'
  fi
  echo 'The package libatomic1 is missing and is installed now: Node 26 is linked against it.' >&2
  run_step 'apt-get install libatomic1' apt_install_or_update libatomic1
}

# check_observable COMMAND: the agent needs root and a kernel that describes itself.
check_observable() {
  if [ "$(id -u)" != 0 ]; then
    fail "To see the sockets of this machine the agent loads eBPF programs, which needs root: sudo $1" "$2"
  fi
  if [ ! -r /sys/kernel/btf/vmlinux ]; then
    fail "This kernel ($(uname -r)) has no type information in /sys/kernel/btf/vmlinux, so eBPF programs cannot be fitted to it." \
      'Kernels of Debian, Ubuntu and Fedora have it; an own kernel needs CONFIG_DEBUG_INFO_BTF=y.' "$2"
  fi
}

# Without them it runs, only slower: nothing is installed for them, and they may fail.
optional_parts=''

# show_plan NEED…: what --dry-run prints. Changes nothing.
show_plan() {
  name_distribution
  if node_modules_are_current; then echo 'npm packages: all there'; else echo 'npm packages: npm ci'; fi
  missing=$(list_missing "$@")
  if [ -z "$missing" ]; then
    echo 'system packages: all there'
  else
    echo "system packages: $(install_command "$missing")"
    echo "$missing" | describe_missing 3
  fi
  [ -z "$build_parts" ] || echo "build, where out of date: $build_parts${optional_parts:+ $optional_parts}"
}

start() {
  case ${1:-} in
    -h | --help | -V | --version) ;;
    '' | -*) set -- up "$@" ;;
  esac
  needs=''
  build_parts='wasm:release'
  case " $1 $* " in
    *' --help '* | *' -h '*) ;;
    ' up '*)
      needs='agent'
      build_parts='wasm:release bpf addon'
      optional_parts='reducer-addon'
      ;;
    ' agent '*)
      needs='agent'
      build_parts='wasm:release bpf addon'
      ;;
    ' reducer '*) [ -n "$(list_missing reducer)" ] || optional_parts='reducer-addon' ;;
    # Says what is missing, so it installs nothing that the others would; it tries the probes where they can be built.
    ' doctor '*)
      build_parts=''
      [ -n "$(list_missing agent)" ] || build_parts='bpf addon'
      ;;
  esac
  if [ -n "$dry_run" ]; then
    show_plan $needs
    echo "then: tributary $*"
    return
  fi
  [ -z "$needs" ] ||
    check_observable "npm start -- $*" 'Without it, one recording through the whole pipeline: npm start -- replay sample'
  install_node_modules
  install_packages $needs
  # shellcheck disable=SC2086
  [ -z "$build_parts" ] || "$NODE" host/launch/build.ts $build_parts
  [ -z "$optional_parts" ] || "$NODE" host/launch/build.ts "$optional_parts" || true
  trap - EXIT INT TERM
  # main.ts keeps the rest of the program there; set from outside it serves main.ts as well, and what strips types need not be loaded: 20 MB.
  NODE_COMPILE_CACHE=$ROOT/.cache/compiled exec "$NODE" host/cmd/main.ts "$@"
}

# Tests in these folders run as any user, without eBPF and with npm packages alone.
only_portable_tests() {
  [ $# -gt 0 ] || return 1
  for path in "$@"; do
    case ${path#./} in
      host | host/* | wasm-modules | wasm-modules/* | schemas | schemas/*) ;;
      *) return 1 ;;
    esac
  done
}

test_all() {
  needs='agent test bench'
  build_parts='wasm bpf addon reducer-addon'
  if only_portable_tests "$@"; then
    needs=''
    build_parts='wasm'
  fi
  if [ -n "$dry_run" ]; then
    show_plan $needs
    [ -z "$needs" ] || echo 'test parts, where not in the cache: OpenTelemetry Collector, Prometheus'
    echo "then: the tests in ${*:-all folders}"
    return
  fi
  [ -z "$needs" ] || check_observable 'npm test' 'Without it, the tests that need neither: npm test -- host wasm-modules schemas'
  install_node_modules
  install_packages $needs
  # shellcheck disable=SC2086
  "$NODE" host/launch/build.ts $build_parts
  [ -z "$needs" ] || "$NODE" test/parts/prepare.ts
  trap - EXIT INT TERM
  echo "set-up: $(($(date +%s) - started)) s" >&2
  run_tests "$@"
}

# A suite that hangs fails after half an hour, so that a run always ends.
run_tests() {
  [ $# -gt 0 ] || set -- bench bpf host schemas test wasm-modules
  for path in "$@"; do
    shift
    if [ -d "$path" ]; then set -- "$@" "${path%/}/**/*.test.ts"; else set -- "$@" "$path"; fi
  done
  exec "$NODE" --test --test-timeout="${TEST_TIMEOUT_MS:-1800000}" "$@"
}

# Only that of the agent needs root and a kernel that eBPF programs fit.
bench() {
  needs='reducer'
  build_parts='wasm:release reducer-addon'
  if [ "${1:-}" = agent ]; then
    needs='agent bench'
    build_parts='wasm:release bpf addon'
  fi
  if [ -n "$dry_run" ]; then
    # shellcheck disable=SC2086
    show_plan $needs
    echo "then: the benchmark ${*:-NAME}"
    return
  fi
  [ "${1:-}" != agent ] || check_observable "npm run bench -- $*" ''
  install_node_modules
  # shellcheck disable=SC2086
  install_packages $needs
  # shellcheck disable=SC2086
  "$NODE" host/launch/build.ts $build_parts
  trap - EXIT INT TERM
  exec "$NODE" bench/run.ts "$@"
}

mode=$1
shift
dry_run=''
if [ "${1:-}" = --dry-run ]; then
  dry_run=1
  shift
fi
check_machine
case $mode in
  start) start "$@" ;;
  test) test_all "$@" ;;
  bench) bench "$@" ;;
  tools) install_packages lint ;;
esac
