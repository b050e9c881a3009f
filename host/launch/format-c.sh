#!/bin/sh
# Formats C and C++ by .clang-format, or with --check only says what is not formatted (exit code 1).
set -eu
cd "$(dirname "$0")/../.."
if ! command -v clang-format >/dev/null; then
  echo 'clang-format is not installed, C and C++ were not looked at; install it with: apt-get install clang-format' >&2
  exit 0
fi
mode='-i'
[ "${1:-}" = '--check' ] && mode='--dry-run --Werror'
# shellcheck disable=SC2086
git ls-files -z -- 'bpf/*.c' 'bpf/*.h' 'bpf/*.cc' 'host/*.cc' 'host/*.h' 'bench/*.cpp' 'bench/*.hpp' ':!bpf/include/gen/*' | xargs -0 -r clang-format $mode
