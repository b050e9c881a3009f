# Functions that find out which system packages are missing and install them; sourced by enter.sh.
# What counts is whether the command or header is there, not which package brought it: that holds on every distribution.

PACKAGES_FILE=host/launch/packages.txt

# Distributions on which set-up and tests ran, as ID-VERSION_ID of os-release(5).
DISTRIBUTIONS_TRIED='debian-12 debian-13 ubuntu-24.04'

# Says on standard error when this distribution was not tried. OS_RELEASE: another file to read that from.
name_distribution() {
  ID='' VERSION_ID='' PRETTY_NAME=''
  # shellcheck source=/dev/null
  [ ! -r "${OS_RELEASE:-/etc/os-release}" ] || . "${OS_RELEASE:-/etc/os-release}"
  case " $DISTRIBUTIONS_TRIED " in
    *" $ID-$VERSION_ID "*) ;;
    *)
      echo "${PRETTY_NAME:-This distribution} was not tried; Debian 12 and 13 and Ubuntu 24.04 were. What is needed is listed in $PACKAGES_FILE." >&2
      ;;
  esac
}

# Prints the lines of packages.txt for these needs (agent, test, …) whose command or file is missing.
list_missing() {
  for need in "$@"; do
    grep "^$need " "$PACKAGES_FILE" | while read -r _ probe rest; do
      case $probe in
        /*) [ -e "$probe" ] || echo "$need $probe $rest" ;;
        *) command -v "$probe" >/dev/null || echo "$need $probe $rest" ;;
      esac
    done
  done
}

# One package column (3 Debian, 4 Fedora, 5 Arch) of the lines on standard input, as arguments.
package_names() {
  awk -v column="$1" '!seen[$column]++ { printf "%s%s", separator, $column; separator = " " }'
}

describe_missing() {
  awk -v column="$1" '{ why = $6; for (i = 7; i <= NF; i++) why = why " " $i; printf "  %-12s %s\n", $column, why }'
}

# Says on standard output how to install the missing lines given as $1 on this distribution.
install_command() {
  if command -v apt-get >/dev/null; then
    echo "apt-get install --no-install-recommends $(echo "$1" | package_names 3)"
  elif command -v dnf >/dev/null; then
    echo "dnf install $(echo "$1" | package_names 4)"
  elif command -v pacman >/dev/null; then
    echo "pacman -S --needed $(echo "$1" | package_names 5)"
  else
    echo "install with this system's package manager what Debian calls $(echo "$1" | package_names 3)"
  fi
}

# Debian starts a service as soon as its package is installed. Tests start their own nginx, and the machine keeps none.
keep_services_down() {
  [ -e /usr/sbin/policy-rc.d ] && return
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  policy_is_ours=1
}

allow_services() {
  [ -z "${policy_is_ours:-}" ] || rm -f /usr/sbin/policy-rc.d
  policy_is_ours=''
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# The package lists of a fresh machine are empty or old; they are fetched only when the first try fails.
apt_install_or_update() {
  apt_install "$@" || { apt-get update && apt_install "$@"; }
}

# Installs what these needs lack. Without apt or root it ends the program with the command that does it.
install_packages() {
  missing=$(list_missing "$@")
  [ -n "$missing" ] || return 0
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo 'These packages are missing:' >&2
    echo "$missing" | describe_missing 3 >&2
    command -v apt-get >/dev/null || echo 'Only Debian and Ubuntu packages are installed automatically.' >&2
    fail "As root: $(install_command "$missing")"
  fi
  names=$(echo "$missing" | package_names 3)
  echo 'These packages are missing and are installed now:' >&2
  echo "$missing" | describe_missing 3 >&2
  keep_services_down
  # shellcheck disable=SC2086
  run_step "apt-get install $names" apt_install_or_update $names
  allow_services
  case " $names " in
    *' nginx '*) update-rc.d nginx disable >/dev/null 2>&1 || true ;;
  esac
}
