#!/bin/sh
# Usage: dependencies.sh windows-mingw|linux-arm64|linux-static
#
# Make build/dependencies/SYSTEM: the libraries that decode pictures, built from Debian's sources to
# static ones, and, for another system than this one, what Debian does not have for it: OpenVINO out
# of its wheel (python/), and the headers that are the same everywhere.
set -eu
system=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
prefix=$root/build/dependencies/$system
sources=$root/build/sources
work=$root/build/dependencies/$system-work
toolchain=$here/toolchains/$system.cmake
python=${PYTHON:-python3}
jobs=$(nproc)

case $system in
windows-mingw) triple=x86_64-w64-mingw32 cc=$triple-gcc-posix platform=win_amd64 ;;
linux-arm64) triple=aarch64-linux-gnu cc=$triple-gcc platform=manylinux_2_35_aarch64 ;;
linux-static) triple=$(gcc -dumpmachine) cc=gcc platform= ;;
*) echo "usage: dependencies.sh windows-mingw|linux-arm64|linux-static" >&2; exit 2 ;;
esac

# A folder is whole if it carries the mark of these very files.
mark=$(cat "$here/dependencies.sh" "$here/sources.txt" "$here/openvino-wheels.txt" "$toolchain" |
       sha256sum | cut -d' ' -f1)
if [ "$(cat "$prefix/.made" 2>/dev/null)" = "$mark" ]; then exit 0; fi
rm -rf "$prefix" "$work"
mkdir -p "$prefix/include" "$prefix/lib/pkgconfig" "$work" "$sources" "$root/build/wheels"

step() { echo "$system: $*"; }
quietly() { "$@" >"$work/log" 2>&1 || { tail -n 40 "$work/log"; exit 1; }; }

# OpenVINO ---------------------------------------------------------------------------------------

openvino() {
    step OpenVINO
    quietly "$python" -m pip download --quiet --no-deps --platform $platform --python-version 3.11 \
        --only-binary=:all: --dest "$root/build/wheels" --require-hashes -r "$here/openvino-wheels.txt"
    "$python" - "$root"/build/wheels/openvino-*"$platform".whl "$prefix/python" <<'UNPACK'
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
wanted = ("openvino/cmake/", "openvino/include/", "openvino/libs/")
wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith(wanted)])
UNPACK
}
[ -z "$platform" ] || openvino

# Sources, by an apt of our own: the system's lists stay as they are -------------------------------

apt="$root/build/apt"
own_apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" -o APT::Sandbox::User= "$@"
}
source_names=$(sed -n 's/^[0-9a-f]\{64\}  \([^_]*\)_.*/\1/p' "$here/sources.txt")

if ! (cd "$sources" && sha256sum --quiet --check "$here/sources.txt" >/dev/null 2>&1 &&
      for name in $source_names; do ls "$name"_*.dsc; done >/dev/null 2>&1); then
    step sources
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    # The mirrors that the system has already; a release before its updates.
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' | sed -n 's/^Debian /deb-src /p' | sort -u >"$apt/all.list"
    { grep -v security "$apt/all.list"; grep security "$apt/all.list"; } >"$apt/sources.list" || :
    quietly own_apt update
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    for name in $source_names; do
        # A mirror without today's update has the release's version still.
        (cd "$sources" && { own_apt source --download-only --only-source "$name" ||
                            own_apt source --download-only --only-source "$name/$release"; }) \
            >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
    done
    (cd "$sources" && sha256sum --quiet --check "$here/sources.txt")
fi

unpacked() {  # NAME: prints the folder of its patched sources
    dsc=$(ls "$sources/$1"_*.dsc | tail -n 1)
    dpkg-source --no-check -x "$dsc" "$work/$1" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    echo "$work/$1"
}

# Libraries ----------------------------------------------------------------------------------------

built_by_cmake() {  # NAME OPTION…
    name=$1; shift
    step "$name"
    folder=$(unpacked "$name")
    quietly cmake -S "$folder" -B "$work/$name-build" -DCMAKE_TOOLCHAIN_FILE="$toolchain" \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR:STRING=lib \
        -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DBUILD_SHARED_LIBS=OFF "$@"
    quietly cmake --build "$work/$name-build" --parallel "$jobs" --target install
}

# zlib's own CMake file would build a shared library too.
step zlib
(cd "$(unpacked zlib)" && mkdir objects && cd objects &&
 for name in adler32 compress crc32 deflate inffast inflate inftrees trees uncompr zutil; do
     quietly $cc -O2 -fPIC -c "../$name.c"
 done &&
 ${triple}-ar rcs "$prefix/lib/libz.a" ./*.o && cp ../zlib.h ../zconf.h "$prefix/include")

built_by_cmake libjpeg-turbo -DENABLE_SHARED=OFF -DREQUIRE_SIMD=ON -DWITH_JAVA=OFF
built_by_cmake libwebp -DWEBP_BUILD_ANIM_UTILS=OFF -DWEBP_BUILD_CWEBP=OFF -DWEBP_BUILD_DWEBP=OFF \
    -DWEBP_BUILD_GIF2WEBP=OFF -DWEBP_BUILD_IMG2WEBP=OFF -DWEBP_BUILD_VWEBP=OFF \
    -DWEBP_BUILD_WEBPINFO=OFF -DWEBP_BUILD_WEBPMUX=OFF -DWEBP_BUILD_EXTRAS=OFF
built_by_cmake tiff -Dlzma=OFF -Dzstd=OFF -Dwebp=OFF -Djbig=OFF -Dlerc=OFF -Dlibdeflate=OFF -Dcxx=OFF \
    -Dtiff-tools=OFF -Dtiff-tests=OFF -Dtiff-contrib=OFF -Dtiff-docs=OFF

# SHA-256 by the processor's instructions; Windows has its own.
if [ $system != windows-mingw ]; then
    step nettle
    folder=$(unpacked nettle)
    # As if the patches had not made the generated files old.
    (cd "$folder" && touch aclocal.m4 configure config.h.in stamp-h.in &&
     quietly ./configure --host=$triple --prefix="$prefix" --libdir="$prefix/lib" --disable-shared \
         --disable-public-key --disable-documentation --enable-fat CFLAGS='-O2 -fPIC' &&
     quietly make -j"$jobs" libnettle.a &&
     quietly make install-headers install-static install-pkgconfig)
fi

# Headers that are the same everywhere --------------------------------------------------------------

cp -R /usr/include/nlohmann /usr/include/doctest "$prefix/include"
mkdir -p "$prefix/lib/cmake"
for package in nlohmann_json doctest; do
    for place in /usr/share/cmake /usr/lib/cmake /usr/share /usr/lib/*/cmake; do
        [ ! -d "$place/$package" ] || cp -R "$place/$package" "$prefix/lib/cmake"
    done
done

sed -i "s,_IMPORT_PREFIX \"/usr\",_IMPORT_PREFIX \"$prefix\"," "$prefix"/lib/cmake/*/*.cmake

rm -rf "$work"
echo "$mark" >"$prefix/.made"
