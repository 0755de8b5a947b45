// QOI, "quite OK": differences to the pixel before, and to those of the same hash.
#include <array>
#include <cstring>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

using Pixel = std::array<std::uint8_t, 4>;

std::uint8_t sum(int one, int other) { return static_cast<std::uint8_t>(one + other); }

/// Reads one pixel after the other.
class Reader {
   public:
    explicit Reader(Bytes data) : data_(data) {}

    /// Read a pixel and how often it is there; false at the end of the data.
    bool next(Pixel& pixel, int& times) {
        times = 1;
        std::uint8_t first;
        if (!take(&first, 1)) return false;
        Pixel value = before_;
        const int op = first >> 6;
        if (first == 0xFE) {
            if (!take(value.data(), 3)) return false;
        } else if (first == 0xFF) {
            if (!take(value.data(), 4)) return false;
        } else if (op == 0) {
            value = seen_[first & 63];
        } else if (op == 1) {
            value[0] = sum(before_[0], (first >> 4 & 3) - 2);
            value[1] = sum(before_[1], (first >> 2 & 3) - 2);
            value[2] = sum(before_[2], (first & 3) - 2);
        } else if (op == 2) {
            std::uint8_t second;
            if (!take(&second, 1)) return false;
            const int green = (first & 63) - 32;
            value[0] = sum(before_[0], green + (second >> 4) - 8);
            value[1] = sum(before_[1], green);
            value[2] = sum(before_[2], green + (second & 15) - 8);
        } else {
            times = (first & 63) + 1;
            pixel = before_;
            return true;
        }
        seen_[static_cast<std::size_t>(
            (value[0] * 3 + value[1] * 5 + value[2] * 7 + value[3] * 11) % 64)] = value;
        before_ = pixel = value;
        return true;
    }

   private:
    bool take(std::uint8_t* out, std::size_t count) {
        if (data_.size < count) return false;
        std::memcpy(out, data_.data, count);
        data_ = slice(data_, count);
        return true;
    }

    Bytes data_;
    Pixel before_ = {0, 0, 0, 255};
    std::array<Pixel, 64> seen_{};
};

}  // namespace

Decoded decode_qoi(Bytes file, const Setup& setup) {
    constexpr std::size_t header = 14;
    if (file.size < header - 1) throw damaged_header(setup.format);
    const std::int64_t width = big32(file.data + 4), height = big32(file.data + 8);
    if (width == 0 || height == 0) throw damaged_header(setup.format);
    check_size(width, height, true);
    Decoded decoded;
    decoded.pixels = Pixels(static_cast<int>(width), static_cast<int>(height));
    std::uint8_t* out = decoded.pixels.rgb.data();
    const std::uint8_t* end = out + decoded.pixels.rgb.size();
    Reader reader(slice(file, header));
    while (out < end) {
        Pixel pixel;
        int times;
        if (!reader.next(pixel, times)) throw damaged("not enough image data");
        for (; times > 0 && out < end; times--, out += 3) std::memcpy(out, pixel.data(), 3);
    }
    return decoded;
}

}  // namespace fleetnet
