#include "images/formats.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "images/limits.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

bool is_jpeg(Bytes file) { return starts_with(file, "\xff\xd8\xff"); }
bool is_png(Bytes file) { return starts_with(file, "\x89PNG\r\n\x1a\n"); }
bool is_webp(Bytes file) {
    return starts_with(file, "RIFF") && starts_with(slice(file, 8), "WEBP");
}

/// Tell whether one of a few brands is among those of an ISO base media file.
bool has_brand(Bytes file, std::initializer_list<const char*> names) {
    constexpr std::size_t max_brands = 64;
    if (!starts_with(slice(file, 4), "ftyp")) return false;
    auto known = [&](Bytes brand) {
        return brand.size == 4 && std::any_of(names.begin(), names.end(), [&](const char* name) {
                   return std::memcmp(brand.data, name, 4) == 0;
               });
    };
    const std::size_t end =
        std::min({std::size_t{big32(file.data)}, file.size, 16 + 4 * max_brands});
    if (known(slice(file, 8, 4))) return true;
    for (std::size_t place = 16; place < end; place += 4)
        if (known(slice(file, place, 4))) return true;
    return false;
}

bool is_avif(Bytes file) { return has_brand(file, {"avif", "avis"}); }
bool is_heif(Bytes file) {
    return has_brand(
        file, {"heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1"});
}

bool is_tiff(Bytes file) {
    return starts_with(file, "II*\0") || starts_with(file, "II+\0") || starts_with(file, "MM\0*") ||
           starts_with(file, "MM\0+");
}
bool is_gif(Bytes file) { return starts_with(file, "GIF87a") || starts_with(file, "GIF89a"); }
bool is_bmp(Bytes file) { return starts_with(file, "BM"); }

bool is_dib(Bytes file) {
    if (file.size < 4 || std::memcmp(file.data + 1, "\0\0\0", 3) != 0) return false;
    const bool old = file[0] == 12;
    if (!old && !std::strchr("\x28\x34\x38\x40\x6c\x7c", file[0])) return false;
    if (file[0] == 0) return false;
    return starts_with(slice(file, old ? 8 : 12), "\1\0");
}

bool is_ppm(Bytes file) {
    if (file.size < 3 || file[0] != 'P') return false;
    const bool kind = (file[1] >= '1' && file[1] <= '6') || file[1] == 'f';
    return kind && (file[2] == ' ' || (file[2] >= '\t' && file[2] <= '\r'));
}

bool is_jpeg2000(Bytes file) {
    return starts_with(file, "\xff\x4f\xff\x51") || starts_with(file, "\0\0\0\x0cjP  \r\n\x87\n");
}
bool is_ico(Bytes file) { return starts_with(file, "\0\0\1\0"); }
bool is_qoi(Bytes file) { return starts_with(file, "qoif"); }

bool is_tga_depth(int kind, int depth) {
    switch (kind) {
        case 1:
        case 9:
            return depth == 8;
        case 2:
        case 10:
            return depth == 16 || depth == 24 || depth == 32;
        case 3:
            return depth == 1 || depth == 8 || depth == 16;
        case 11:
            return depth == 8 || depth == 16;
        default:
            return false;
    }
}

/// Tell whether bytes can be a Targa file.
///
/// The format has no magic number, and older files have no footer. So the header must make sense,
/// and there must be at least as many bytes as the pixels need, with the best run-length encoding.
bool is_tga(Bytes file) {
    if (file.size < 18) return false;
    const std::uint8_t* p = file.data;
    const int kind = p[2], depth = p[16], flags = p[17];
    const bool mapped = kind == 1 || kind == 9;
    const std::size_t entries = little16(p + 5), entry_bits = p[7];
    const std::size_t width = little16(p + 12), height = little16(p + 14);
    if (p[1] != (mapped ? 1 : 0) || !is_tga_depth(kind, depth) || (flags & 0xC0)) return false;
    if (mapped && (entries == 0 || (entry_bits != 16 && entry_bits != 24 && entry_bits != 32)))
        return false;
    const std::size_t pixels = width * height, bits = static_cast<std::size_t>(depth);
    const std::size_t longest_run = 128;
    const std::size_t least = kind >= 9 ? (pixels + longest_run - 1) / longest_run * (1 + bits / 8)
                                        : height * ((width * bits + 7) / 8);
    const std::size_t palette = mapped ? entries * entry_bits / 8 : 0;
    if (pixels == 0) return false;
    if (file.size >= 18 + p[0] + palette + least) return true;
    static const char footer[] = "TRUEVISION-XFILE.";  // with its zero
    return std::memcmp(file.end() - sizeof footer, footer, sizeof footer) == 0;
}

#ifdef FLEETNET_WITH_WEBP
constexpr auto webp = decode_webp;
#else
constexpr Decoded (*webp)(Bytes, const Setup&) = nullptr;
#endif
#ifdef FLEETNET_WITH_TIFF
constexpr auto tiff = decode_tiff;
#else
constexpr Decoded (*tiff)(Bytes, const Setup&) = nullptr;
#endif

}  // namespace

const std::vector<Format>& known_formats() {
    // In the order in which they are tried; TGA last, because it has no magic number.
    static const std::vector<Format> known = {
        {"JPEG", is_jpeg, nullptr},
        {"PNG", is_png, decode_png},
        {"WEBP", is_webp, webp},
        {"AVIF", is_avif, nullptr},
        {"HEIF", is_heif, nullptr},
        {"TIFF", is_tiff, tiff},
        {"GIF", is_gif, decode_gif},
        {"BMP", is_bmp, decode_bmp},
        {"DIB", is_dib, decode_dib},
        {"PPM", is_ppm, decode_ppm},
        {"JPEG2000", is_jpeg2000, nullptr},
        {"ICO", is_ico, decode_ico},
        {"QOI", is_qoi, decode_qoi},
        {"TGA", is_tga, decode_tga},
    };
    return known;
}

const Format& format_of(Bytes file) {
    for (const Format& format : known_formats())
        if (format.begins(file)) return format;
    throw image_error("not an image in a known format");
}

std::vector<std::string> formats() {
    std::vector<std::string> names;
    for (const Format& format : known_formats())
        if (format.decode || format.begins == is_jpeg) names.push_back(format.name);
    return names;
}

}  // namespace fleetnet
