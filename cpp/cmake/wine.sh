#!/bin/sh
# Usage: wine.sh PROGRAM.exe [ARGUMENT…]
#
# Run a Windows program with Debian's wine, in a home of its own under build/, and with the libraries
# of OpenVINO and of the build (in the folder above the program's) where the program finds them.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$root/build"
export WINEPREFIX="${WINEPREFIX:-$root/build/wine}"
export WINEDEBUG="${WINEDEBUG:--all}"
openvino=$root/build/dependencies/windows-mingw/python/openvino/libs
export WINEPATH="$openvino;$(dirname "$1")/..${WINEPATH:+;$WINEPATH}"
# Wine cannot save the registers of AMX.
export ONEDNN_MAX_CPU_ISA="${ONEDNN_MAX_CPU_ISA:-AVX512_CORE}"
wine=$(command -v wine64 || echo /usr/lib/wine/wine64)
exec "$wine" "$@"
