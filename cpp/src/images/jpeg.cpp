#include <algorithm>

#include "images/decoder.hpp"
#include "images/jpeg_decode.hpp"
#include "images/jpeg_header.hpp"
#include "images/limits.hpp"
#include "images/orientation.hpp"

namespace fleetnet {
namespace {

/// Tell whether a file has all of its picture; the smallest is fastest to see.
bool is_whole(Bytes file) {
    constexpr int smallest = 8;
    int width = 0, height = 0;
    if (!strict_jpeg_size(file, width, height)) return false;
    if (static_cast<std::int64_t>(width) * height > max_pixels || !has_all_scans(file))
        return false;
    return decode_jpeg_strictly(file, width, height, smallest, nullptr, nullptr);
}

/// Return a file with its end marker added if it lacks nothing else; else nothing.
///
/// Scanners and cameras that lose power leave it out, and browsers show such files. libjpeg cannot
/// tell them from files that lack a part of the picture.
std::vector<std::uint8_t> with_end(Bytes file) {
    if (!lacks_jpeg_end(file)) return {};
    std::vector<std::uint8_t> ended(file.size + 2);
    std::copy(file.begin(), file.end(), ended.begin());
    ended[file.size] = 0xFF;
    ended[file.size + 1] = 0xD9;
    if (!is_whole(ended)) ended.clear();
    return ended;
}

std::optional<Bytes> view_of(const std::optional<std::vector<std::uint8_t>>& bytes) {
    if (!bytes) return std::nullopt;
    return Bytes(*bytes);
}

}  // namespace

Jpeg::Jpeg(Bytes file) : file_(file), ended_(with_end(file)) {
    if (!ended_.empty()) file_ = ended_;
    const JpegHeader header = read_jpeg_header(file_);
    width_ = header.width;
    height_ = header.height;
    layers_ = header.layers;
    check_size(width_, height_);
    orientation_ = orientation_of({view_of(header.exif), view_of(header.xmp), false});
}

Pixels Jpeg::decode(int shrink, const Region* needed) const {
    Pixels pixels((width_ + shrink - 1) / shrink, (height_ + shrink - 1) / shrink);
    std::uint8_t* out = pixels.rgb.data();
    if (layers_ != 4 && decode_jpeg_strictly(file_, width_, height_, shrink, needed, out))
        return pixels;
    const LenientResult result =
        decode_jpeg_leniently(file_, width_, height_, layers_, shrink, out);
    if (result.state == LenientResult::truncated)
        throw damaged("image file is truncated (" + std::to_string(result.left) +
                      " bytes not processed)");
    if (result.state == LenientResult::broken)
        throw damaged("broken data stream when reading image file");
    return pixels;
}

}  // namespace fleetnet
