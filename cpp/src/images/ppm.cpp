// PBM, PGM and PPM, in binary and in text.
#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "images/decoder.hpp"
#include "images/limits.hpp"
#include "images/python_text.hpp"
#include "images/raw_rows.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

constexpr std::size_t longest_token = 10;

bool is_space(std::uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// A whole number as Python reads it, of a token of at most ten bytes.
std::int64_t whole_number(Bytes token) {
    std::int64_t value = 0;
    std::size_t i = token.size && (token[0] == '-' || token[0] == '+') ? 1 : 0;
    const bool negative = i == 1 && token[0] == '-';
    bool digit_before = false, valid = i < token.size;
    for (; i < token.size; i++) {
        const bool digit = token[i] >= '0' && token[i] <= '9';
        const bool gap = token[i] == '_' && digit_before && i + 1 < token.size;
        valid = valid && (digit || gap);
        if (digit) value = value * 10 + (token[i] - '0');
        digit_before = digit;
    }
    if (!valid) throw damaged("invalid literal for int() with base 10: " + quoted(token));
    return negative ? -value : value;
}

class Portable {
   public:
    Portable(Bytes file, const Setup& setup) : file_(file), format_(setup.format) {}

    Pixels decode() {
        kind_ = file_[1];
        place_ = 2;
        // The name goes on to the first space.
        if (place_ >= file_.size || !is_space(file_[place_])) throw damaged_header(format_);
        place_++;
        colours_ = kind_ == '3' || kind_ == '6' ? 3 : 1;
        width_ = whole_number(token());
        height_ = whole_number(token());
        const bool bits = kind_ == '1' || kind_ == '4', real = kind_ == 'f';
        if (real) check_scale(token());
        if (!bits && !real) read_most();
        if (width_ <= 0 || height_ <= 0) throw damaged_header(format_);
        const bool plain = kind_ <= '3';
        const bool full = most_ == 255 || (most_ == 65535 && colours_ == 1);
        const bool slow = plain || (!bits && !real && !full);
        check_size(width_, height_, slow);
        if (real) refuse_real();
        pixels_ = Pixels(static_cast<int>(width_), static_cast<int>(height_));
        const Bytes data = slice(file_, place_);
        if (kind_ == '1')
            decode_digits(data);
        else if (plain)
            decode_text(data);
        else if (slow)
            decode_scaled(data);
        else
            decode_rows(data, bits);
        return std::move(pixels_);
    }

   private:
    Bytes token() {
        token_.clear();
        while (token_.size() <= longest_token && place_ < file_.size) {
            const std::uint8_t c = file_[place_++];
            if (is_space(c)) {
                if (token_.empty()) continue;
                break;
            }
            if (c == '#') {
                while (place_ < file_.size) {
                    const std::uint8_t end = file_[place_++];
                    if (end == '\r' || end == '\n') break;
                }
                continue;
            }
            token_.push_back(c);
        }
        if (token_.empty()) throw damaged("Reached EOF while reading header");
        if (token_.size() > longest_token)
            throw too_long("Token too long in file header: ", token_);
        return token_;
    }

    static Error too_long(const char* what, Bytes token) {
        std::string text = what;
        text.append(token.begin(), token.end());
        return damaged(
            quoted(Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())));
    }

    void check_scale(Bytes text) {
        std::string copy(text.begin(), text.end());
        // strtod reads the point of the program's locale.
        const std::size_t point = copy.find('.');
        if (point != std::string::npos) copy.replace(point, 1, std::localeconv()->decimal_point);
        char* end = nullptr;
        const double scale = std::strtod(copy.c_str(), &end);
        if (end == copy.c_str() || *end)
            throw damaged("could not convert string to float: " + quoted(text));
        if (scale == 0 || !std::isfinite(scale)) throw damaged("scale must be finite and non-zero");
    }

    void read_most() {
        const std::int64_t most = whole_number(token());
        if (most <= 0 || most >= 65536)
            throw damaged("maxval must be greater than 0 and less than 65536");
        most_ = static_cast<int>(most);
    }

    /// Samples of 32 bits have no range; but a file that is cut off is damaged first.
    void refuse_real() {
        RawRows rows;
        rows.length = static_cast<std::size_t>(width_) * 4;
        each_row(slice(file_, place_), rows, static_cast<int>(height_),
                 [](int, const std::uint8_t*) {});
        throw image_error(
            "samples of 32 bits have no defined range; save the image as 8 or 16 bits");
    }

    void put_sample(std::size_t number, std::uint8_t value) {
        if (colours_ == 3)
            pixels_.rgb.data()[number] = value;
        else
            std::memset(pixels_.rgb.data() + 3 * number, value, 3);
    }

    std::size_t samples() const { return pixels_.rgb.size() / (colours_ == 3 ? 1 : 3); }

    /// A sample of the file's own range; grey of 16 bits is scaled to these first.
    std::uint8_t scaled(int value) const {
        const bool deep = colours_ == 1 && most_ > 255;
        const double range = deep ? 65535 : 255;
        const double even = std::nearbyint(static_cast<double>(value) / most_ * range);
        const int level = static_cast<int>(std::min(even, range));
        return static_cast<std::uint8_t>(deep ? level >> 8 : level);
    }

    void decode_rows(Bytes data, bool bits) {
        const int sample_bits = bits ? 1 : most_ == 255 ? 8 : 16;
        RawRows rows;
        rows.length = bytes_of(width_, sample_bits * colours_);
        const auto stride = static_cast<std::size_t>(pixels_.width * colours_);
        each_row(data, rows, pixels_.height, [&](int y, const std::uint8_t* row) {
            const std::size_t first = stride * static_cast<std::size_t>(y);
            for (std::size_t i = 0; i < stride; i++) {
                const std::uint8_t value = bits ? (row[i / 8] >> (7 - i % 8) & 1 ? 0 : 255)
                                           : sample_bits == 8 ? row[i]
                                                              : row[2 * i];
                put_sample(first + i, value);
            }
        });
    }

    void decode_scaled(Bytes data) {
        const std::size_t size = most_ < 256 ? 1 : 2;
        const std::size_t whole = data.size / (size * static_cast<std::size_t>(colours_));
        if (whole * static_cast<std::size_t>(colours_) < samples())
            throw damaged("not enough image data");
        for (std::size_t i = 0; i < samples(); i++) {
            const std::uint8_t* p = data.data + i * size;
            put_sample(i, scaled(size == 1 ? *p : static_cast<int>(big16(p))));
        }
    }

    /// The text without its comments, each from # to the end of its line.
    static std::vector<std::uint8_t> without_comments(Bytes data) {
        std::vector<std::uint8_t> text;
        bool comment = false;
        for (const std::uint8_t c : data) {
            if (comment)
                comment = c != '\n' && c != '\r';
            else if (c == '#')
                comment = true;
            else
                text.push_back(c);
        }
        return text;
    }

    void decode_digits(Bytes data) {
        constexpr std::size_t block = std::size_t{1} << 20;
        std::size_t filled = 0;
        // Python's library looks at a whole block before it stops.
        const std::vector<std::uint8_t> text = without_comments(data);
        for (std::size_t i = 0; i < text.size() && (filled < samples() || i % block != 0); i++) {
            if (is_space(text[i])) continue;
            if (text[i] != '0' && text[i] != '1')
                throw too_long("Invalid token for this mode: ", slice(text, i, 1));
            if (filled < samples()) put_sample(filled++, text[i] == '0' ? 255 : 0);
        }
        if (filled < samples()) throw damaged("not enough image data");
    }

    void decode_text(Bytes data) {
        std::size_t filled = 0;
        const std::vector<std::uint8_t> text = without_comments(data);
        for (std::size_t i = 0; i < text.size() && filled < samples();) {
            if (is_space(text[i])) {
                i++;
                continue;
            }
            std::size_t end = i;
            while (end < text.size() && !is_space(text[end])) end++;
            const Bytes token = slice(text, i, end - i);
            if (token.size > longest_token)
                throw too_long("Token too long found in data: ",
                               slice(token, 0, longest_token + 1));
            const std::int64_t value = whole_number(token);
            if (value < 0) throw damaged("Channel value is negative: " + std::to_string(value));
            if (value > most_)
                throw damaged("Channel value too large for this mode: " + std::to_string(value));
            put_sample(filled++, scaled(static_cast<int>(value)));
            i = end;
        }
        if (filled < samples()) throw damaged("not enough image data");
    }

    Bytes file_;
    std::string format_;
    std::size_t place_ = 0;
    int kind_ = 0, colours_ = 1, most_ = 255;
    std::int64_t width_ = 0, height_ = 0;
    std::vector<std::uint8_t> token_;
    Pixels pixels_;
};

}  // namespace

Decoded decode_ppm(Bytes file, const Setup& setup) { return {Portable(file, setup).decode(), 1}; }

}  // namespace fleetnet
