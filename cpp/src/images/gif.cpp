// GIF: its first picture, with the decompression and the strictness of Python's library.
#include <algorithm>
#include <array>
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

constexpr int table_size = 4096;
constexpr int most_bits = 12;

/// Writes numbers of colours to their places, line by line.
class Canvas {
   public:
    Canvas(std::uint8_t* out, std::size_t stride, int width, int height, bool interlaced)
        : out_(out),
          stride_(stride),
          width_(width),
          height_(height),
          pass_(interlaced ? 1 : 0),
          step_(interlaced ? 8 : 1) {}

    bool full() const { return full_; }

    void put(std::uint8_t index) {
        out_[stride_ * static_cast<std::size_t>(y_) + static_cast<std::size_t>(x_)] = index;
        if (++x_ < width_) return;
        x_ = 0;
        y_ += step_;
        while (y_ >= height_) {
            if (pass_ == 0) {
                full_ = true;
                return;
            }
            // The passes begin at the lines 0, 4, 2 and 1.
            static constexpr std::array<int, 4> starts = {0, 4, 2, 1}, steps = {0, 8, 4, 2};
            const auto next = static_cast<std::size_t>(pass_);
            y_ = starts[next];
            step_ = steps[next];
            pass_ = pass_ == 3 ? 0 : pass_ + 1;
        }
    }

   private:
    std::uint8_t* out_;
    std::size_t stride_;
    int width_, height_, pass_, step_;
    int x_ = 0, y_ = 0;
    bool full_ = false;
};

enum class Step { more, done, broken };

/// The compression of Lempel, Ziv and Welch in GIF's blocks.
class Expander {
   public:
    Expander(int bits, Canvas canvas) : bits_(bits), clear_(1 << bits), canvas_(canvas) {
        string_.reserve(table_size);
    }

    /// Go on with what is in `data`, and take away from it what was used.
    Step advance(Bytes& data) {
        while (true) {
            if (fresh_) start_again();
            int code = 0;
            if (!next_code(data, code)) return Step::more;
            if (code == clear_) {
                fresh_ = !first_;
                continue;
            }
            if (code == clear_ + 1) return Step::more;  // Pillow reads on behind the end
            if (!expand(code)) return Step::broken;
            for (auto byte = string_.rbegin(); byte != string_.rend(); ++byte) {
                canvas_.put(*byte);
                if (canvas_.full()) return Step::done;
            }
        }
    }

   private:
    void start_again() {
        next_ = clear_ + 2;
        size_ = bits_ + 1;
        mask_ = (1 << size_) - 1;
        fresh_ = false;
        first_ = true;
    }

    bool next_code(Bytes& data, int& code) {
        while (waiting_ < size_) {
            if (block_ == 0) {
                // Only whole blocks are begun.
                if (data.size < 1 || data.size < std::size_t{data[0]} + 1) return false;
                block_ = data[0];
                data = slice(data, 1);
                continue;
            }
            buffer_ |= static_cast<std::uint32_t>(data[0]) << waiting_;
            waiting_ += 8;
            data = slice(data, 1);
            block_--;
        }
        code = static_cast<int>(buffer_) & mask_;
        buffer_ >>= size_;
        waiting_ -= size_;
        return true;
    }

    /// Make the string that a code stands for, its last byte first; false if there is none.
    bool expand(int code) {
        string_.clear();
        if (first_) {
            if (code > clear_) return false;
            last_ = code;
            last_byte_ = static_cast<std::uint8_t>(code);
            string_.push_back(last_byte_);
            first_ = false;
            return true;
        }
        if (code > next_) return false;
        int link = code;
        if (code == next_) {
            string_.push_back(last_byte_);
            link = last_;
        }
        while (link >= clear_) {
            if (string_.size() >= table_size || link >= table_size) return false;
            string_.push_back(data_[static_cast<std::size_t>(link)]);
            link = links_[static_cast<std::size_t>(link)];
        }
        last_byte_ = static_cast<std::uint8_t>(link);
        string_.push_back(last_byte_);
        if (next_ < table_size) {
            data_[static_cast<std::size_t>(next_)] = last_byte_;
            links_[static_cast<std::size_t>(next_)] = static_cast<std::uint16_t>(last_);
            if (next_ == mask_ && size_ < most_bits) mask_ = (1 << ++size_) - 1;
            next_++;
        }
        last_ = code;
        return true;
    }

    int bits_, clear_;
    Canvas canvas_;
    bool fresh_ = true, first_ = true;
    int next_ = 0, size_ = 0, mask_ = 0;
    int last_ = 0;
    std::uint8_t last_byte_ = 0;
    int block_ = 0, waiting_ = 0;
    std::uint32_t buffer_ = 0;
    std::vector<std::uint8_t> string_;
    std::array<std::uint8_t, table_size> data_{};
    std::array<std::uint16_t, table_size> links_{};
};

/// Reads a file up to the data of its first picture.
class Header {
   public:
    explicit Header(Bytes file) : file_(file) {}

    void read() {
        const Bytes screen = take(13);
        if (screen.size < 11) throw bad();
        width = little16(screen.data + 6);
        height = little16(screen.data + 8);
        if (screen[10] & 128) {
            if (screen.size < 12) throw bad();
            palette_ = palette_of(take(std::size_t{3} << ((screen[10] & 7) + 1)));
        }
        const int first = next();
        if (first < 0 || first == ';') throw bad();
        read_blocks(first);
        if (width <= 0 || height <= 0) throw bad();
    }

    std::int64_t width = 0, height = 0;
    Region part;
    bool interlaced = false;
    int bits = 0;
    std::optional<std::uint8_t> transparent;
    const std::optional<Bytes>& palette() const { return palette_; }
    Bytes data() const { return slice(file_, place_); }

   private:
    static Error bad() { return damaged_header("GIF"); }

    Bytes take(std::size_t size) {
        const Bytes bytes = slice(file_, place_, size);
        place_ += bytes.size;
        return bytes;
    }

    int next() { return place_ < file_.size ? file_[place_++] : -1; }

    /// One block of data; nothing at the end of them.
    std::optional<Bytes> block() {
        const int size = next();
        if (size <= 0) return std::nullopt;
        return take(static_cast<std::size_t>(size));
    }

    void pass_blocks() {
        for (auto found = block(); found && found->size > 0; found = block()) {
        }
    }

    /// The colours of a palette; nothing if they are the shades of grey in their order.
    static std::optional<Bytes> palette_of(Bytes stored) {
        for (std::size_t i = 0; i < stored.size; i += 3) {
            for (std::size_t k = i; k < i + 3; k++) {
                if (k >= stored.size) throw bad();
                if (stored[k] != i / 3) return stored;
            }
        }
        return std::nullopt;
    }

    void read_blocks(int byte) {
        while (byte >= 0 && byte != ';') {
            if (byte == '!') read_extension();
            if (byte == ',') {
                read_picture();
                return;
            }
            byte = next();
        }
        throw bad();
    }

    void read_extension() {
        constexpr int control = 249, comment = 254, application = 255;
        const int kind = next();
        std::optional<Bytes> content = block();
        if (kind < 0) throw bad();
        if (kind == control && content) {
            if (content->size < 1 || ((*content)[0] & 1 && content->size < 4)) throw bad();
            if ((*content)[0] & 1) transparent = (*content)[3];
            if (content->size < 3) throw bad();
        } else if (kind == comment) {
            while (content && content->size > 0) content = block();
            return;
        } else if (kind == application && content && starts_with(*content, "NETSCAPE2.0")) {
            block();
        }
        pass_blocks();
    }

    void read_picture() {
        const Bytes place = take(9);
        if (place.size < 9) throw bad();
        part.left = static_cast<int>(little16(place.data));
        part.top = static_cast<int>(little16(place.data + 2));
        part.right = part.left + static_cast<int>(little16(place.data + 4));
        part.bottom = part.top + static_cast<int>(little16(place.data + 6));
        width = std::max<std::int64_t>(width, part.right);
        height = std::max<std::int64_t>(height, part.bottom);
        interlaced = place[8] & 64;
        if (place[8] & 128) palette_ = palette_of(take(std::size_t{3} << ((place[8] & 7) + 1)));
        bits = next();
        if (bits < 0) throw bad();
    }

    Bytes file_;
    std::size_t place_ = 0;
    std::optional<Bytes> palette_;
};

void expand(const Header& header, std::uint8_t* out, std::size_t stride) {
    const Bytes all = header.data();
    if (header.bits > most_bits) {
        // Python's library looks at it when there is something to expand.
        if (all.size == 0) throw truncated(0);
        throw damaged("codec configuration error when reading image file");
    }
    constexpr std::size_t block = 65536;
    const Region& part = header.part;
    std::uint8_t* first = out + stride * static_cast<std::size_t>(part.top) + part.left;
    Expander expander(header.bits, Canvas(first, stride, part.right - part.left,
                                          part.bottom - part.top, header.interlaced));
    Bytes data = slice(all, 0, 0);
    std::size_t end = 0;
    while (true) {
        if (end == all.size) throw truncated(data.size);
        const std::size_t more = std::min(block, all.size - end);
        data = Bytes(all.data + end - data.size, data.size + more);
        end += more;
        const Step step = expander.advance(data);
        if (step == Step::broken) throw damaged("broken data stream when reading image file");
        if (step == Step::done) return;
    }
}

}  // namespace

Decoded decode_gif(Bytes file, const Setup&) {
    Header header(file);
    header.read();
    check_size(header.width, header.height);
    const Region& part = header.part;
    if (part.left >= part.right || part.top >= part.bottom)
        throw damaged("tile cannot extend outside image");
    const auto width = static_cast<std::size_t>(header.width);
    std::vector<std::uint8_t> indices(width * static_cast<std::size_t>(header.height),
                                      header.transparent.value_or(0));
    expand(header, indices.data(), width);
    const Palette palette =
        header.palette() ? Palette::of(*header.palette(), 3, false) : Palette::grey();
    Decoded decoded;
    decoded.pixels = Pixels(static_cast<int>(header.width), static_cast<int>(header.height));
    std::uint8_t* out = decoded.pixels.rgb.data();
    for (const std::uint8_t index : indices) {
        palette.put(out, index);
        out += 3;
    }
    return decoded;
}

}  // namespace fleetnet
