#!/bin/sh
# Usage: [LIST=FILE] [NAME=WHO] packages.sh [TARGET…]
#
# Make sure that the Debian packages of cpp/packages.txt (or another list, for somebody else) are there:
# the common ones and those of each target. No service that comes with one is started. Installs what is missing where it may (root, apt-get); otherwise says so in one line and
# exits with 1, which leaves the target out. Where CI=true, what may be installed and cannot be is
# tried three times, and is an error (2) then: nothing is left out in silence.
set -eu
list=${LIST:-$(dirname "$0")/../packages.txt}
name=${NAME:-make cpp${1:+-$1}}

if ! command -v dpkg-query >/dev/null; then
    echo "$name: skipped: this is no Debian; docs/cpp.md says what to install and which preset to take"
    exit 1
fi

wanted=$(sed -e 's/#.*//' -e '/:/d' "$list")
for target in "$@"; do
    wanted="$wanted $(sed -n "s/^$target: *//p" "$list")"
done

missing=
for package in $wanted; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | sort -u)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "$name: skipped: these packages are missing:$missing (as root: apt-get install$missing)"
    exit 1
fi
tries=1 verdict=skipped state=1
[ "${CI:-}" != true ] || tries=3 verdict=error state=2

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=${POLICY:-/usr/sbin/policy-rc.d}
[ ! -e $policy ] || policy=
trap 'rm -f "$log" ${policy:+"$policy"}' EXIT
# Debian asks it before a service is started, and 101 says no.
[ -z "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; } 2>/dev/null || :
installed() {
    # The lists of a fresh machine are empty or old. Those of another vendor may fail to come.
    apt-get update -qq || :
    # Somebody else may be installing.
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 $missing
}
until installed >"$log" 2>&1; do
    tries=$((tries - 1))
    if [ $tries = 0 ]; then
        echo "$name: $verdict: these packages could not be installed:$missing"
        tail -n 5 "$log" | sed 's/^/    /'
        exit $state
    fi
    sleep 15
done
