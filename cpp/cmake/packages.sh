#!/bin/sh
# Usage: packages.sh [TARGET…]
#
# Make sure that the Debian packages of cpp/packages.txt are there: the common ones and those of each
# target. Installs what is missing where it may (root, apt-get); otherwise says so in one line and
# exits with 1.
set -eu
list=$(dirname "$0")/../packages.txt
name="make cpp${1:+-$1}"

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
export DEBIAN_FRONTEND=noninteractive
# Somebody else may be installing; the lists of a fresh machine are empty or old.
if ! { apt-get update -qq &&
       apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=600 $missing; } \
       >/tmp/fleetnet-apt.$$ 2>&1; then
    echo "$name: skipped: these packages could not be installed:$missing"
    sed 's/^/    /' /tmp/fleetnet-apt.$$ | tail -n 5
    rm -f /tmp/fleetnet-apt.$$
    exit 1
fi
rm -f /tmp/fleetnet-apt.$$
