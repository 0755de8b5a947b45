// WebP, by the interface of animations, as Python's library uses it: the first picture counts.
#include <webp/demux.h>

#include <cstring>
#include <memory>
#include <optional>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/orientation.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

/// The size in the header, so that it is checked before memory is allocated for it.
void check_stated_size(Bytes file) {
    const std::uint8_t* p = file.data;
    const Bytes kind = slice(file, 12, 4);
    std::int64_t width = 0, height = 0;
    if (starts_with(kind, "VP8 ") && file.size >= 30 &&
        std::memcmp(p + 23, "\x9d\x01\x2a", 3) == 0) {
        width = little16(p + 26) & 0x3FFF;
        height = little16(p + 28) & 0x3FFF;
    } else if (starts_with(kind, "VP8X") && file.size >= 30) {
        width = (little32(p + 23) >> 8) + std::int64_t{1};
        height = (little32(p + 26) >> 8) + std::int64_t{1};
    } else if (starts_with(kind, "VP8L") && file.size >= 25 && p[20] == 0x2F) {
        width = (little32(p + 21) & 0x3FFF) + 1;
        height = (little32(p + 21) >> 14 & 0x3FFF) + 1;
    }
    check_size(width, height);
}

struct Delete {
    void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

/// A chunk of the file's that says something of the picture.
std::optional<Bytes> chunk(const WebPDemuxer* demuxer, const char* name) {
    WebPChunkIterator found;
    if (!WebPDemuxGetChunk(demuxer, name, 1, &found)) return std::nullopt;
    const Bytes bytes(found.chunk.bytes, found.chunk.size);
    WebPDemuxReleaseChunkIterator(&found);  // the bytes are the file's own
    if (bytes.size == 0) return std::nullopt;
    return bytes;
}

}  // namespace

Decoded decode_webp(Bytes file, const Setup& setup) {
    const Bytes kind = slice(file, 12, 4);
    if (!starts_with(kind, "VP8 ") && !starts_with(kind, "VP8X") && !starts_with(kind, "VP8L"))
        throw damaged_header(setup.format);
    check_stated_size(file);
    const WebPData data{file.data, file.size};
    const std::unique_ptr<WebPAnimDecoder, Delete> decoder(WebPAnimDecoderNew(&data, nullptr));
    WebPAnimInfo info;
    if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info))
        throw damaged("could not create decoder object");
    check_size(info.canvas_width, info.canvas_height);
    std::uint8_t* rgba = nullptr;
    int time = 0;
    if (!WebPAnimDecoderGetNext(decoder.get(), &rgba, &time))
        throw damaged("failed to read next frame");
    Decoded decoded;
    decoded.pixels =
        Pixels(static_cast<int>(info.canvas_width), static_cast<int>(info.canvas_height));
    std::uint8_t* out = decoded.pixels.rgb.data();
    const std::uint8_t* end = out + decoded.pixels.rgb.size();
    for (; out < end; out += 3, rgba += 4) std::memcpy(out, rgba, 3);
    const WebPDemuxer* demuxer = WebPAnimDecoderGetDemuxer(decoder.get());
    decoded.orientation = orientation_of({chunk(demuxer, "EXIF"), chunk(demuxer, "XMP "), false});
    return decoded;
}

}  // namespace fleetnet
