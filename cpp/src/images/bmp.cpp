// BMP, its headless kind DIB, and icons, which hold one of them or a PNG.
#include <algorithm>
#include <string>
#include <vector>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/palette.hpp"
#include "images/raw_rows.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

enum Compression : std::uint32_t { raw = 0, rle8 = 1, rle4 = 2, bitfields = 3 };

struct Masks {
    std::uint32_t red, green, blue, alpha;
};

/// Where red, green and blue are among the four bytes of a pixel.
struct Order {
    Masks masks;
    int red, green, blue;
};

constexpr Order orders[] = {
    {{0xFF0000, 0xFF00, 0xFF, 0}, 2, 1, 0},
    {{0xFF000000, 0xFF0000, 0xFF00, 0}, 3, 2, 1},
    {{0xFF000000, 0xFF00, 0xFF, 0}, 3, 1, 0},
    {{0xFF000000, 0xFF0000, 0xFF00, 0xFF}, 3, 2, 1},
    {{0xFF, 0xFF00, 0xFF0000, 0xFF000000}, 0, 1, 2},
    {{0xFF0000, 0xFF00, 0xFF, 0xFF000000}, 2, 1, 0},
    {{0xFF000000, 0xFF00, 0xFF, 0xFF0000}, 3, 1, 0},
    {{0, 0, 0, 0}, 2, 1, 0},
};

class Bitmap {
   public:
    /// `start`: of the header; `offset`: of the pixels, or 0 for behind the header.
    Bitmap(Bytes file, std::size_t start, std::size_t offset, const Setup& setup)
        : file_(file),
          place_(start),
          offset_(offset),
          format_(setup.format),
          deep_(setup.sample_bits.has_value()) {}

    Pixels decode() {
        read_header();
        if (width_ <= 0 || height_ <= 0) throw bad();
        check_size(width_, height_);
        if (green_bits_ == 6 && deep_)
            throw image_error(
                "sample_bits does not work for samples stored as BGR;16; save the image as PNG");
        Pixels pixels(static_cast<int>(width_), static_cast<int>(height_));
        const Bytes data = slice(file_, offset_ ? offset_ : place_);
        const bool run_length = compression_ == rle8 || compression_ == rle4;
        if (run_length)
            decode_runs(data, pixels);
        else
            decode_rows(data, pixels);
        return pixels;
    }

   private:
    Error bad() const { return damaged_header(format_); }

    Bytes take(std::size_t size) {
        const Bytes bytes = slice(file_, place_, size);
        place_ += bytes.size;
        return bytes;
    }

    std::uint32_t number() {
        const Bytes bytes = take(4);
        if (bytes.size < 4) throw bad();
        return little32(bytes.data);
    }

    void read_header() {
        const std::uint32_t size = number();
        Bytes header = Bytes(file_.data + place_, 0);
        if (size > 4) header = take(size - 4);
        if (size > 4 && header.size < size - 4) throw damaged("Truncated File Read");
        if (size == 12) {
            width_ = little16(header.data);
            height_ = little16(header.data + 2);
            bits_ = little16(header.data + 6);
            padding_ = 3;
        } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 ||
                   size == 124) {
            read_long_header(header);
        } else {
            throw damaged("Unsupported BMP header type (" + std::to_string(size) + ")");
        }
        if (colours_ == 0) colours_ = bits_ < 32 ? std::uint64_t{1} << bits_ : UINT64_MAX >> 8;
        if (offset_ == 14 + std::size_t{size} && bits_ <= 8) offset_ += padding_ * colours_;
        if (bits_ != 1 && bits_ != 4 && bits_ != 8 && bits_ != 16 && bits_ != 24 && bits_ != 32)
            throw damaged("Unsupported BMP pixel depth (" + std::to_string(bits_) + ")");
        if (compression_ == bitfields)
            check_masks();
        else if (compression_ > bitfields)
            throw damaged("Unsupported BMP compression (" + std::to_string(compression_) + ")");
        if (bits_ <= 8) read_palette();
    }

    void read_long_header(Bytes header) {
        const bool from_top = header[7] == 0xFF;
        bottom_up_ = !from_top;
        width_ = little32(header.data);
        const std::int64_t height = little32(header.data + 4);
        height_ = from_top ? (std::int64_t{1} << 32) - height : height;
        bits_ = little16(header.data + 10);
        compression_ = little32(header.data + 12);
        colours_ = little32(header.data + 28);
        padding_ = 4;
        if (compression_ != bitfields) return;
        if (header.size >= 48) {
            masks_ = {little32(header.data + 36), little32(header.data + 40),
                      little32(header.data + 44), 0};
            if (header.size >= 52) masks_.alpha = little32(header.data + 48);
        } else {
            masks_.red = number();
            masks_.green = number();
            masks_.blue = number();
        }
    }

    void check_masks() {
        const auto is = [this](std::uint32_t red, std::uint32_t green, std::uint32_t blue) {
            return masks_.red == red && masks_.green == green && masks_.blue == blue;
        };
        if (bits_ == 32) {
            for (const Order& known : orders) {
                if (!is(known.masks.red, known.masks.green, known.masks.blue) ||
                    masks_.alpha != known.masks.alpha)
                    continue;
                order_ = known;
                return;
            }
        }
        if (bits_ == 24 && is(0xFF0000, 0xFF00, 0xFF)) return;
        green_bits_ = bits_ == 16 && is(0xF800, 0x7E0, 0x1F) ? 6 : 5;
        if (bits_ == 16 && (green_bits_ == 6 || is(0x7C00, 0x3E0, 0x1F))) return;
        throw damaged("Unsupported BMP bitfields layout");
    }

    /// Read the colours; those that are the shades of grey in their order are none.
    void read_palette() {
        if (colours_ == 0 || colours_ > 65536)
            throw damaged("Unsupported BMP Palette size (" + std::to_string(colours_) + ")");
        const auto colours = static_cast<std::size_t>(colours_);
        const Bytes stored = take(padding_ * colours);
        bool grey = true;
        for (std::size_t i = 0; grey && i < colours; i++) {
            const Bytes entry = slice(stored, i * padding_, 3);
            const std::uint8_t shade = static_cast<std::uint8_t>(colours == 2 ? i * 255 : i);
            grey = entry.size == 3 && std::all_of(entry.begin(), entry.end(),
                                                  [&](std::uint8_t v) { return v == shade; });
        }
        if (!grey) {
            palette_bytes_ = stored;
            sample_bits_ = static_cast<int>(bits_);
            return;
        }
        grey_ = true;
        black_and_white_ = colours <= 2;
        sample_bits_ = black_and_white_ ? 1 : 8;
    }

    Palette palette() const {
        return grey_ ? Palette::grey() : Palette::of(palette_bytes_, padding_, true);
    }

    void decode_rows(Bytes data, Pixels& pixels) {
        const int bits = bits_ <= 8 ? sample_bits_ : static_cast<int>(bits_);
        RawRows rows;
        rows.length = bytes_of(width_, bits);
        rows.stride = static_cast<std::size_t>(
            (static_cast<std::uint64_t>(width_) * bits_ + 31) >> 3 & ~std::uint64_t{3});
        rows.bottom_up = bottom_up_;
        const Palette colours = bits_ <= 8 ? palette() : Palette::grey();
        each_row(data, rows, pixels.height, [&](int y, const std::uint8_t* row) {
            std::uint8_t* out = pixels.row(y);
            for (int x = 0; x < pixels.width; x++, out += 3) put(out, row, x, bits, colours);
        });
    }

    void put(std::uint8_t* out, const std::uint8_t* row, int x, int bits,
             const Palette& colours) const {
        if (bits <= 8) {
            const int at = x * bits;
            int value = row[at / 8] >> (8 - bits - at % 8) & ((1 << bits) - 1);
            if (grey_ && black_and_white_) value *= 255;
            colours.put(out, static_cast<std::uint8_t>(value));
        } else if (bits == 16) {
            const auto pixel = static_cast<int>(little16(row + std::ptrdiff_t{2} * x));
            const int most = (1 << green_bits_) - 1;
            out[0] = static_cast<std::uint8_t>((pixel >> (5 + green_bits_) & 31) * 255 / 31);
            out[1] = static_cast<std::uint8_t>((pixel >> 5 & most) * 255 / most);
            out[2] = static_cast<std::uint8_t>((pixel & 31) * 255 / 31);
        } else {
            const std::uint8_t* p = row + std::ptrdiff_t{bits / 8} * x;
            out[0] = p[order_.red];
            out[1] = p[order_.green];
            out[2] = p[order_.blue];
        }
    }

    void decode_runs(Bytes data, Pixels& pixels) {
        if (bits_ > 8) throw damaged("unknown raw mode for given image mode");
        const std::vector<std::uint8_t> indices = expanded(data);
        if (indices.size() < static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_))
            throw damaged("not enough image data");
        const Palette colours = palette();
        for (int row = 0; row < pixels.height; row++) {
            const std::uint8_t* from =
                indices.data() + static_cast<std::size_t>(width_) * static_cast<std::size_t>(row);
            std::uint8_t* out = pixels.row(bottom_up_ ? pixels.height - 1 - row : row);
            for (int x = 0; x < pixels.width; x++, out += 3) {
                const bool white = grey_ && black_and_white_ && from[x] != 0;
                colours.put(out, white ? std::uint8_t{255} : from[x]);
            }
        }
    }

    /// Undo the run-length encoding, as Python's library does.
    std::vector<std::uint8_t> expanded(Bytes data) const {
        const bool half = compression_ == rle4;
        const auto width = static_cast<std::size_t>(width_);
        const std::size_t wanted = width * static_cast<std::size_t>(height_);
        std::vector<std::uint8_t> out;
        std::size_t at = 0, x = 0;
        const auto file_place = [&] {
            return static_cast<std::size_t>(data.data - file_.data) + at;
        };
        while (out.size() < wanted && data.size - at >= 2) {
            const std::size_t count = data[at];
            const std::uint8_t value = data[at + 1];
            at += 2;
            if (count > 0) {
                const std::size_t room = width > x ? width - x : 0;
                const std::size_t run = x + count > width ? room : count;
                for (std::size_t i = 0; i < run; i++)
                    out.push_back(!half ? value : i % 2 == 0 ? value >> 4 : value & 15);
                x += run;
            } else if (value == 0) {
                while (out.size() % width != 0) out.push_back(0);
                x = 0;
            } else if (value == 1) {
                break;
            } else if (value == 2) {
                if (data.size - at < 2) break;
                const std::size_t skipped = data[at] + data[at + 1] * width;
                at += 2;
                out.resize(out.size() + std::min(wanted - out.size(), skipped), 0);
                x = out.size() % width;
            } else {
                const std::size_t samples = std::min<std::size_t>(wanted - out.size(), value);
                const std::size_t size = half ? (samples + 1) / 2 : samples;
                const Bytes bytes = slice(data, at, size);
                at += bytes.size;
                for (std::size_t i = 0; i < bytes.size; i++) {
                    out.push_back(half ? bytes[i] >> 4 : bytes[i]);
                    if (half && i * 2 + 1 < samples) out.push_back(bytes[i] & 15);
                }
                if (bytes.size < size || out.size() == wanted) break;
                x += value;
                if (file_place() % 2 != 0) at = std::min(at + 1, data.size);
            }
        }
        return out;
    }

    Bytes file_;
    std::size_t place_, offset_;
    std::string format_;
    bool deep_;  ///< whether it is said how many bits of 16-bit samples are used
    std::int64_t width_ = 0, height_ = 0;
    std::uint32_t bits_ = 0, compression_ = raw;
    std::uint64_t colours_ = 0;
    std::size_t padding_ = 4;
    bool bottom_up_ = true;
    Masks masks_{};
    Order order_ = orders[0];
    int green_bits_ = 5, sample_bits_ = 8;
    bool grey_ = false, black_and_white_ = false;
    Bytes palette_bytes_;
};

Error too_short(std::size_t needed, int unpacked, std::size_t offset, std::size_t actual) {
    return damaged("unpack_from requires a buffer of at least " + std::to_string(needed) +
                   " bytes for unpacking " + std::to_string(unpacked) + " bytes at offset " +
                   std::to_string(offset) + " (actual buffer size is " + std::to_string(actual) +
                   ")");
}

/// The largest picture of an icon; of equal ones, the deepest.
Bytes largest_of_icon(Bytes file) {
    constexpr std::size_t entry_size = 16;
    if (file.size < 6) {
        // Fewer bytes of a count are a smaller number.
        if (slice(file, 4).size == 0 || file[4] == 0) throw damaged("an icon without a picture");
        throw too_short(6 + entry_size, entry_size, 6, file.size);
    }
    const std::size_t count = little16(file.data + 4);
    std::uint64_t best = 0;
    std::size_t start = 0, size = 0;
    for (std::size_t i = 0; i < count; i++) {
        const std::size_t place = 6 + entry_size * i;
        if (file.size < place + entry_size)
            throw too_short(place + entry_size, entry_size, place, file.size);
        const std::uint8_t* p = file.data + place;
        const std::uint64_t area = std::uint64_t{p[0] ? p[0] : 256u} * (p[1] ? p[1] : 256u);
        const std::uint64_t rank = area << 16 | little16(p + 6);
        if (rank <= best) continue;
        best = rank;
        size = little32(p + 8);
        start = little32(p + 12);
    }
    if (count == 0) throw damaged("an icon without a picture");
    return slice(file, start, size);
}

}  // namespace

Decoded decode_bmp(Bytes file, const Setup& setup) {
    if (file.size < 14) throw damaged_header(setup.format);
    return {Bitmap(file, 14, little32(file.data + 10), setup).decode(), 1};
}

Decoded decode_dib(Bytes file, const Setup& setup) {
    return {Bitmap(file, 0, 0, setup).decode(), 1};
}

Decoded decode_ico(Bytes file, const Setup& setup) {
    const Bytes picture = largest_of_icon(file);
    if (starts_with(picture, "\x89PNG\r\n\x1a\n")) return decode_png(picture, setup);
    if (picture.size < 12) throw too_short(12, 4, 8, picture.size);
    // Its mask follows the picture and is part of the height; alpha is dropped, as everywhere.
    std::vector<std::uint8_t> bitmap(picture.begin(), picture.end());
    const auto height = static_cast<std::int32_t>(little32(picture.data + 8));
    const auto half =
        static_cast<std::uint32_t>((std::int64_t{height} - (height < 0 && height % 2)) / 2);
    for (int i = 0; i < 4; i++)
        bitmap[8 + static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(half >> (8 * i));
    const std::uint32_t header = little32(bitmap.data());
    if (header != 12 && header != 40 && header != 52 && header != 56 && header != 64 &&
        header != 108 && header != 124)
        throw damaged_header(setup.format);
    return decode_dib(bitmap, setup);
}

}  // namespace fleetnet
