#include "images/orientation.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

constexpr std::uint32_t orientation_tag = 0x0112;

bool is_mirrored(int turn) { return turn == 2 || turn == 3 || turn == 6 || turn == 7; }
bool is_upside_down(int turn) { return turn == 3 || turn == 4 || turn == 7 || turn == 8; }

/// A directory of TIFF tags, read as Pillow reads it.
struct Directory {
    Bytes file;
    bool big_endian = false;
    bool big = false;  ///< BigTIFF: counts and offsets of 64 bits

    std::uint64_t number(const std::uint8_t* p, std::size_t bytes) const {
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < bytes; i++)
            value = value << 8 | p[big_endian ? i : bytes - 1 - i];
        return value;
    }
};

/// Bytes of one value of each TIFF type; 0 for types that do not exist.
std::size_t size_of_type(std::uint64_t type) {
    constexpr std::size_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
    return type < sizeof sizes / sizeof *sizes ? sizes[type] : 0;
}

double real_number(std::uint64_t bits, std::size_t size) {
    if (size == 4) {
        const auto low = static_cast<std::uint32_t>(bits);
        float value;
        std::memcpy(&value, &low, sizeof value);
        return static_cast<double>(value);
    }
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

/// The first number of a tag's value, of any numeric type; -1 for text and bytes.
double first_number(const Directory& directory, std::uint64_t type, const std::uint8_t* value) {
    const std::size_t size = size_of_type(type);
    switch (type) {
        case 3:
        case 4:
        case 13:
        case 16:
            return static_cast<double>(directory.number(value, size));
        case 6:
        case 8:
        case 9: {
            const auto unsigned_value = static_cast<std::int64_t>(directory.number(value, size));
            const std::int64_t sign = std::int64_t{1} << (8 * size - 1);
            return static_cast<double>((unsigned_value ^ sign) - sign);
        }
        case 5:
        case 10: {
            const auto above = static_cast<std::int32_t>(directory.number(value, 4));
            const auto below = static_cast<std::int32_t>(directory.number(value + 4, 4));
            return below ? static_cast<double>(above) / below : -1;
        }
        case 11:
        case 12:
            return real_number(directory.number(value, size), size);
        default:
            return -1;
    }
}

/// The orientation in a directory; absent if there is none, 1 if it means nothing.
std::optional<int> find_orientation(const Directory& directory, std::uint64_t offset) {
    const Bytes file = directory.file;
    const std::size_t count_size = directory.big ? 8 : 2, entry_size = directory.big ? 20 : 12;
    const std::size_t word = directory.big ? 8 : 4;
    if (offset > file.size || file.size - offset < count_size) return std::nullopt;
    const std::uint64_t count = directory.number(file.data + offset, count_size);
    std::size_t place = static_cast<std::size_t>(offset) + count_size;
    std::uint64_t outside = 0;
    for (std::uint64_t entry = 0; entry < count; entry++, place += entry_size) {
        if (file.size - place < entry_size) return std::nullopt;
        const std::uint8_t* p = file.data + place;
        const std::uint64_t tag = directory.number(p, 2), type = directory.number(p + 2, 2);
        const std::uint64_t values = directory.number(p + 4, word);
        const std::uint8_t* value = p + 4 + word;
        const std::size_t unit = size_of_type(type);
        if (unit == 0 || values == 0) continue;
        if (values > file.size) {
            // Longer than the file, so it is passed over, and so are all that are not in place.
            outside = std::uint64_t{1} << 62;
            continue;
        }
        const std::uint64_t size = values * unit;
        if (size > word) {
            const std::uint64_t start = directory.number(value, word);
            if (start >> 63) continue;
            outside += size;
            if (outside > file.size) continue;
            if (start > file.size || file.size - start < size) return std::nullopt;
            value = file.data + start;
        }
        if (tag != orientation_tag) continue;
        const double found = first_number(directory, type, value);
        for (int turn = 1; turn <= 8; turn++)
            if (found == turn) return turn;
        return 1;
    }
    return std::nullopt;
}

bool has_tiff_header(Bytes head) {
    static const char* const known[] = {"MM\0\x2a", "II\x2a\0", "MM\x2a\0",
                                        "II\0\x2a", "MM\0\x2b", "II\x2b\0"};
    return head.size >= 4 && std::any_of(std::begin(known), std::end(known), [&](const char* one) {
               return std::memcmp(head.data, one, 4) == 0;
           });
}

int orientation_of_xmp(const std::optional<Bytes>& xmp) {
    static const char name[] = "tiff:Orientation";
    constexpr std::size_t length = sizeof name - 1;
    if (!xmp) return 1;
    const std::uint8_t* from = xmp->begin();
    while (true) {
        from = std::search(from, xmp->end(), name, name + length);
        if (from == xmp->end()) return 1;
        const std::uint8_t* p = from + length;
        const auto left = xmp->end() - p;
        if (left >= 3 && p[0] == '=' && p[1] == '"')
            p += 2;
        else if (left >= 2 && p[0] == '>')
            p += 1;
        else
            p = nullptr;
        if (p && *p >= '0' && *p <= '9') return *p >= '1' && *p <= '8' ? *p - '0' : 1;
        from++;
    }
}

}  // namespace

int orientation_of(const Metadata& metadata) {
    if (metadata.broken) return 1;
    if (metadata.exif) {
        Bytes exif = *metadata.exif;
        for (int i = 0; i < 2 && starts_with(exif, "Exif\0\0"); i++) exif = slice(exif, 6);
        if (exif.size > 0) {
            // EXIF that cannot be read hides the XMP, as in Pillow.
            if (exif.size < 8 || !has_tiff_header(exif) || exif[2] == 43) return 1;
            Directory directory{exif, exif[0] == 'M', false};
            const auto found = find_orientation(directory, directory.number(exif.data + 4, 4));
            if (found) return *found;
        }
    }
    return orientation_of_xmp(metadata.xmp);
}

int orientation_of_tiff(Bytes file, std::size_t offset, const std::optional<Bytes>& xmp) {
    if (!has_tiff_header(file)) return 1;
    const bool big_endian = file[0] == 'M';
    const Directory directory{file, big_endian, file[2] == 43};
    const auto found = find_orientation(directory, offset);
    return found ? *found : orientation_of_xmp(xmp);
}

bool is_sideways(int orientation) { return orientation >= 5; }

Region stored_region(const Region& upright, int width, int height, int orientation) {
    Region region = upright;
    if (is_mirrored(orientation)) {
        region.left = width - upright.right;
        region.right = width - upright.left;
    }
    if (is_upside_down(orientation)) {
        region.top = height - upright.bottom;
        region.bottom = height - upright.top;
    }
    if (!is_sideways(orientation)) return region;
    return {region.top, region.left, region.bottom, region.right};
}

Pixels turn_upright(Pixels stored, int orientation, const Region* needed) {
    if (orientation <= 1 || orientation > 8) return stored;
    const bool sideways = is_sideways(orientation);
    Pixels upright(sideways ? stored.height : stored.width,
                   sideways ? stored.width : stored.height);
    const Region all{0, 0, upright.width, upright.height};
    const Region part = needed ? *needed : all;
    // Where the upright picture's first pixel is stored, and how far its neighbours are from it.
    const auto across = sideways ? static_cast<std::ptrdiff_t>(stored.stride()) : 3;
    const auto down = sideways ? 3 : static_cast<std::ptrdiff_t>(stored.stride());
    const std::ptrdiff_t step = is_mirrored(orientation) ? -across : across;
    const std::ptrdiff_t line = is_upside_down(orientation) ? -down : down;
    const std::uint8_t* origin = stored.rgb.data();
    if (step < 0) origin += across * (upright.width - 1);
    if (line < 0) origin += down * (upright.height - 1);
    // In squares, so that the rows that a column crosses stay in the processor's cache.
    constexpr int square = 64;
    for (int top = part.top; top < part.bottom; top += square) {
        for (int left = part.left; left < part.right; left += square) {
            const int bottom = std::min(top + square, part.bottom);
            const int right = std::min(left + square, part.right);
            for (int y = top; y < bottom; y++) {
                const std::uint8_t* from = origin + line * y + step * left;
                std::uint8_t* to = upright.row(y) + static_cast<std::ptrdiff_t>(left) * 3;
                for (int x = left; x < right; x++, from += step, to += 3) {
                    to[0] = from[0];
                    to[1] = from[1];
                    to[2] = from[2];
                }
            }
        }
    }
    return upright;
}

}  // namespace fleetnet
