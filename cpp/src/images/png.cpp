// PNG: the rows are decompressed by zlib, and unfiltered and unpacked here. Python's library does
// so too: what it accepts and refuses differs from libpng.
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/png_chunks.hpp"
#include "images/read_bytes.hpp"
#include "images/samples.hpp"

namespace fleetnet {
namespace {

constexpr int passes = 7;
struct Pass {
    int first_column, first_row, columns, rows;
};
constexpr Pass adam7[passes] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};

int samples_of(int colour) {
    switch (colour) {
        case 2:
            return 3;
        case 4:
            return 2;
        case 6:
            return 4;
        default:
            return 1;
    }
}

std::uint8_t paeth(int left, int up, int corner) {
    const int to_left = std::abs(up - corner), to_up = std::abs(left - corner);
    const int to_corner = std::abs(left + up - 2 * corner);
    return static_cast<std::uint8_t>(to_left <= to_up && to_left <= to_corner ? left
                                     : to_up <= to_corner                     ? up
                                                                              : corner);
}

/// Undo a row's filter; false if there is no such filter. `back`: bytes from a pixel to the next.
bool unfilter(int filter, std::uint8_t* row, const std::uint8_t* above, std::size_t length,
              std::size_t back) {
    auto add = [](std::uint8_t& byte, int more) { byte = static_cast<std::uint8_t>(byte + more); };
    const std::size_t first = back < length ? back : length;
    switch (filter) {
        case 0:
            return true;
        case 1:
            for (std::size_t i = back; i < length; i++) add(row[i], row[i - back]);
            return true;
        case 2:
            for (std::size_t i = 0; i < length; i++) add(row[i], above[i]);
            return true;
        case 3:
            for (std::size_t i = 0; i < first; i++) add(row[i], above[i] / 2);
            for (std::size_t i = back; i < length; i++) add(row[i], (row[i - back] + above[i]) / 2);
            return true;
        case 4:
            for (std::size_t i = 0; i < first; i++) add(row[i], above[i]);
            for (std::size_t i = back; i < length; i++)
                add(row[i], paeth(row[i - back], above[i], above[i - back]));
            return true;
        default:
            return false;
    }
}

/// Makes RGB of rows of stored samples.
class Unpacker {
   public:
    Unpacker(const PngChunks& chunks, const Setup& setup)
        : depth_(chunks.depth()), colour_(chunks.colour()), bits_(setup.sample_bits.value_or(16)) {
        const Bytes stored = chunks.palette();
        std::memcpy(palette_, stored.data ? stored.data : palette_,
                    std::min<std::size_t>(stored.size / 3 * 3, sizeof palette_));
    }

    const std::uint8_t* background() const { return palette_; }

    void unpack(const std::uint8_t* row, int count, std::uint8_t* out) const {
        if (depth_ == 8 && colour_ == 2) {
            std::memcpy(out, row, static_cast<std::size_t>(count) * 3);
            return;
        }
        const int step = samples_of(colour_) * depth_ / 8;
        for (int x = 0; x < count; x++, out += 3) {
            if (depth_ < 8) {
                const int at = x * depth_;
                const int value = row[at / 8] >> (8 - depth_ - at % 8) & ((1 << depth_) - 1);
                put(out, colour_ == 3 ? value : value * (255 / ((1 << depth_) - 1)));
            } else if (depth_ == 8) {
                put(out, row + static_cast<std::ptrdiff_t>(x) * step, 1);
            } else {
                put(out, row + static_cast<std::ptrdiff_t>(x) * step, 2);
            }
        }
    }

   private:
    void put(std::uint8_t* out, int value) const {
        for (int i = 0; i < 3; i++)
            out[i] = colour_ == 3 ? palette_[3 * value + i] : static_cast<std::uint8_t>(value);
    }

    /// Put a pixel of samples of one or two bytes.
    void put(std::uint8_t* out, const std::uint8_t* samples, int bytes) const {
        const bool coloured = colour_ == 2 || colour_ == 6;
        for (int i = 0; i < 3; i++) {
            const std::uint8_t* sample = samples + (coloured ? i * bytes : 0);
            const std::uint8_t value = bytes == 1 ? *sample : upper_eight(big16(sample), bits_);
            out[i] = colour_ == 3 ? palette_[3 * value + i] : value;
        }
    }

    int depth_, colour_, bits_;
    std::uint8_t palette_[768] = {};
};

/// Decompresses the rows of a picture one after the other.
class Rows {
   public:
    explicit Rows(PngChunks& chunks) : chunks_(chunks) {
        std::memset(&stream_, 0, sizeof stream_);
        if (inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
    }
    ~Rows() { inflateEnd(&stream_); }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    /// Fill a row; return whether more may follow. Throws Error(Code::image).
    bool read(std::uint8_t* row, std::size_t length) {
        constexpr std::size_t block = 65536;
        stream_.next_out = row;
        stream_.avail_out = static_cast<uInt>(length);
        while (true) {
            if (stream_.avail_in == 0) {
                const Bytes data = chunks_.next_data(block);
                if (data.size == 0)
                    throw damaged("image file is truncated (0 bytes not processed)");
                stream_.next_in = const_cast<Bytef*>(data.data);
                stream_.avail_in = static_cast<uInt>(data.size);
            }
            const int state = inflate(&stream_, Z_NO_FLUSH);
            if (state == Z_DATA_ERROR) throw damaged("broken data stream when reading image file");
            if (state == Z_MEM_ERROR) throw std::bad_alloc();
            if (state < 0) throw damaged("codec configuration error when reading image file");
            if (stream_.avail_out == 0) return state != Z_STREAM_END;
            stream_.avail_in = 0;  // what is left of this block cannot be used
        }
    }

   private:
    PngChunks& chunks_;
    z_stream stream_;
};

class Picture {
   public:
    Picture(PngChunks& chunks, const Setup& setup)
        : chunks_(chunks),
          unpacker_(chunks, setup),
          rows_(chunks),
          bits_(samples_of(chunks.colour()) * chunks.depth()),
          pixels_(static_cast<int>(chunks.width()), static_cast<int>(chunks.height())) {
        // What the data do not fill is black, or the first colour.
        std::uint8_t* out = pixels_.rgb.data();
        const std::size_t size = pixels_.rgb.size();
        if (chunks.colour() != 3)
            std::memset(out, 0, size);
        else
            for (std::size_t i = 0; i < size; i += 3)
                std::memcpy(out + i, unpacker_.background(), 3);
    }

    Pixels decode() {
        const Region part = chunks_.part().value_or(Region{0, 0, pixels_.width, pixels_.height});
        if (part.left >= part.right || part.top >= part.bottom)
            throw damaged("tile cannot extend outside image");
        if (chunks_.interlaced())
            decode_interlaced(part.right - part.left, part.bottom - part.top);
        else
            decode_in_order(part);
        return std::move(pixels_);
    }

   private:
    std::size_t row_length(int pixels) const {
        return (static_cast<std::size_t>(pixels) * static_cast<std::size_t>(bits_) + 7) / 8;
    }

    /// Read and unfilter the next row of `length`; return whether more may follow.
    bool read_row(std::size_t length) {
        const bool more = rows_.read(row_.data(), length + 1);
        const auto back = static_cast<std::size_t>((bits_ + 7) / 8);
        if (!unfilter(row_[0], row_.data() + 1, above_.data() + 1, length, back))
            throw damaged("unrecognized data stream contents when reading image file");
        return more;
    }

    void prepare(int width) {
        row_.assign(row_length(width) + 1, 0);
        above_ = row_;
    }

    void decode_in_order(const Region& part) {
        const int width = part.right - part.left;
        prepare(width);
        for (int y = part.top; y < part.bottom; y++) {
            const bool more = read_row(row_length(width));
            unpacker_.unpack(row_.data() + 1, width,
                             pixels_.row(y) + 3 * static_cast<std::ptrdiff_t>(part.left));
            if (!more) return;
            row_.swap(above_);
        }
    }

    void decode_interlaced(int width, int height) {
        prepare(width);
        std::vector<std::uint8_t> unpacked(static_cast<std::size_t>(width) * 3);
        for (const Pass& pass : adam7) {
            const int count = (width - pass.first_column + pass.columns - 1) / pass.columns;
            if (count <= 0) continue;
            std::fill(above_.begin(), above_.end(), std::uint8_t{0});
            for (int y = pass.first_row; y < height; y += pass.rows) {
                const bool more = read_row(row_length(count));
                unpacker_.unpack(row_.data() + 1, count, unpacked.data());
                for (int i = 0; i < count; i++)
                    std::memcpy(
                        pixels_.row(y) +
                            3 * (pass.first_column + static_cast<std::ptrdiff_t>(i) * pass.columns),
                        unpacked.data() + 3 * static_cast<std::ptrdiff_t>(i), 3);
                if (!more) return;
                row_.swap(above_);
            }
        }
    }

    PngChunks& chunks_;
    Unpacker unpacker_;
    Rows rows_;
    int bits_;
    std::vector<std::uint8_t> row_, above_;  // each with the byte that tells the filter
    Pixels pixels_;
};

}  // namespace

Decoded decode_png(Bytes file, const Setup& setup) {
    check_png(file);
    PngChunks chunks(file, setup.format);
    chunks.read_header();
    check_size(chunks.width(), chunks.height());
    if (!chunks.has_data()) throw damaged("cannot load this image");
    if (chunks.colour() == 3 && chunks.palette().size / 3 > 256)
        throw damaged("invalid palette size");
    Decoded decoded;
    decoded.pixels = Picture(chunks, setup).decode();
    chunks.read_rest();
    if (chunks.colour() == 3 && !chunks.transparency_fits())
        throw damaged("palette index out of range");
    decoded.orientation = chunks.orientation();
    return decoded;
}

}  // namespace fleetnet
