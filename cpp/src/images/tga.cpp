// Targa, with and without run-length encoding.
#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/palette.hpp"
#include "images/raw_rows.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

void put_15_bits(std::uint8_t* out, const std::uint8_t* p) {
    const auto pixel = static_cast<int>(little16(p));
    out[0] = static_cast<std::uint8_t>((pixel >> 10 & 31) * 255 / 31);
    out[1] = static_cast<std::uint8_t>((pixel >> 5 & 31) * 255 / 31);
    out[2] = static_cast<std::uint8_t>((pixel & 31) * 255 / 31);
}

class Picture {
   public:
    explicit Picture(Bytes file) : file_(file) {
        const std::uint8_t* p = file.data;  // of at least 18 bytes, as the format was recognised
        kind_ = p[2] & 7;
        runs_ = p[2] & 8;
        depth_ = p[16];
        bottom_up_ = !(p[17] & 0x20);
        mirrored_ = p[17] & 0x10;
        place_ = 18 + std::size_t{p[0]};
        pixels_ = Pixels(static_cast<int>(little16(p + 12)), static_cast<int>(little16(p + 14)));
        if (p[1]) read_palette(little16(p + 3), little16(p + 5), p[7]);
    }

    Pixels decode() {
        const Bytes data = slice(file_, place_);
        RawRows rows;
        rows.length = bytes_of(pixels_.width, depth_);
        rows.bottom_up = bottom_up_;
        if (runs_)
            decode_runs(data, rows.length);
        else
            each_row(data, rows, pixels_.height,
                     [&](int y, const std::uint8_t* row) { unpack(y, row); });
        if (mirrored_) mirror();
        return std::move(pixels_);
    }

   private:
    void read_palette(std::size_t first, std::size_t count, int bits) {
        const std::size_t entry = static_cast<std::size_t>(bits) / 8;
        const Bytes stored = slice(file_, place_, entry * count);
        place_ += stored.size;
        if (first + stored.size / entry > Palette::most) throw damaged("invalid palette size");
        for (std::size_t i = 0; i < stored.size / entry; i++) {
            const std::uint8_t* p = stored.data + i * entry;
            std::uint8_t rgb[3] = {0, 0, 0};
            if (bits == 16) {
                put_15_bits(rgb, p);
            } else {
                rgb[0] = p[2];
                rgb[1] = p[1];
                rgb[2] = p[0];
            }
            palette_.set(first + i, rgb[0], rgb[1], rgb[2]);
        }
    }

    void unpack(int y, const std::uint8_t* row) {
        std::uint8_t* out = pixels_.row(y);
        for (int x = 0; x < pixels_.width; x++, out += 3) {
            const std::uint8_t* p = row + static_cast<std::ptrdiff_t>(x) * depth_ / 8;
            if (kind_ == 1) {
                palette_.put(out, *p);
            } else if (kind_ == 3) {
                const int grey = depth_ == 1 ? (*p >> (7 - x % 8) & 1) * 255 : *p;
                std::memset(out, grey, 3);
            } else if (depth_ == 16) {
                put_15_bits(out, p);
            } else {
                out[0] = p[2];
                out[1] = p[1];
                out[2] = p[0];
            }
        }
    }

    /// Packets of runs end at a line's end; others may go on in the next line.
    void decode_runs(Bytes data, std::size_t length) {
        std::vector<std::uint8_t> row(length);
        const std::size_t pixel = static_cast<std::size_t>(depth_) / 8;
        std::size_t filled = 0;
        int line = 0;
        if (data.size == 0) throw truncated(0);
        while (true) {
            if (data.size < 1) throw truncated(0);
            const bool run = data[0] & 0x80;
            const std::size_t bytes = pixel * ((data[0] & 0x7Fu) + 1);
            const std::size_t packet = 1 + (run ? pixel : bytes);
            if (data.size < packet) throw truncated(data.size);
            if (run && filled + bytes > length)
                throw damaged("buffer overrun when reading image file");
            const std::uint8_t* from = data.data + 1;
            for (std::size_t done = 0; done < bytes;) {
                const std::size_t part = std::min(bytes - done, length - filled);
                for (std::size_t i = 0; i < part; i++)
                    row[filled + i] = run ? from[(done + i) % pixel] : from[done + i];
                filled += part;
                done += part;
                if (filled < length) continue;
                unpack(bottom_up_ ? pixels_.height - 1 - line : line, row.data());
                filled = 0;
                if (++line == pixels_.height) return;
            }
            data = slice(data, packet);
        }
    }

    void mirror() {
        for (int y = 0; y < pixels_.height; y++) {
            std::uint8_t* left = pixels_.row(y);
            std::uint8_t* right = left + pixels_.stride() - 3;
            for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
        }
    }

    Bytes file_;
    std::size_t place_ = 0;
    int kind_ = 0, depth_ = 0;
    bool runs_ = false, bottom_up_ = false, mirrored_ = false;
    Palette palette_;
    Pixels pixels_;
};

}  // namespace

Decoded decode_tga(Bytes file, const Setup&) {
    check_size(little16(file.data + 12), little16(file.data + 14));
    return {Picture(file).decode(), 1};
}

}  // namespace fleetnet
