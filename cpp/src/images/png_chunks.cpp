#include "images/png_chunks.hpp"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <stdexcept>

#include "images/limits.hpp"
#include "images/python_text.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

constexpr std::size_t max_text = std::size_t{1} << 20;
constexpr std::size_t max_all_text = 64 * max_text;

bool is_letter(std::uint8_t byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

std::string named(Bytes name) {
    const bool letters = name.size == 4 && std::all_of(name.begin(), name.end(), is_letter);
    return letters ? text_of(name) : "of no known kind";
}

/// Decompress as far as the data are sound, and into no more than is allowed.
std::vector<std::uint8_t> decompressed(Bytes data, bool& sound) {
    std::vector<std::uint8_t> out;
    z_stream stream;
    std::memset(&stream, 0, sizeof stream);
    sound = inflateInit(&stream) == Z_OK;
    if (!sound) return out;
    stream.next_in = const_cast<Bytef*>(data.data);
    stream.avail_in = static_cast<uInt>(data.size);
    int state = Z_OK;
    while (state == Z_OK && out.size() < max_text) {
        const std::size_t filled = out.size();
        out.resize(std::min(max_text, std::max<std::size_t>(filled * 2, 4096)));
        stream.next_out = out.data() + filled;
        stream.avail_out = static_cast<uInt>(out.size() - filled);
        state = inflate(&stream, Z_SYNC_FLUSH);
        out.resize(out.size() - stream.avail_out);
    }
    const bool too_much = state == Z_OK && stream.avail_in > 0;
    inflateEnd(&stream);
    sound = state == Z_OK || state == Z_STREAM_END || state == Z_BUF_ERROR;
    if (too_much) throw damaged("Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK");
    return out;
}

bool is_known_mode(int depth, int colour) {
    switch (colour) {
        case 0:
            return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
        case 3:
            return depth == 1 || depth == 2 || depth == 4 || depth == 8;
        case 2:
        case 4:
        case 6:
            return depth == 8 || depth == 16;
        default:
            return false;
    }
}

const std::uint8_t* find_zero(Bytes bytes) { return std::find(bytes.begin(), bytes.end(), 0); }

Bytes between(const std::uint8_t* begin, const std::uint8_t* end) {
    return Bytes(begin, static_cast<std::size_t>(end - begin));
}

std::vector<std::uint8_t> copy(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

bool is(Bytes key, const char* name) {
    return key.size == std::strlen(name) && std::memcmp(key.data, name, key.size) == 0;
}

bool is_utf8(Bytes text) {
    for (std::size_t i = 0; i < text.size;) {
        const std::uint8_t first = text[i++];
        const int more = first < 0x80                    ? 0
                         : first >= 0xC2 && first < 0xE0 ? 1
                         : first >= 0xE0 && first < 0xF0 ? 2
                         : first >= 0xF0 && first < 0xF5 ? 3
                                                         : -1;
        if (more < 0) return false;
        for (int k = 0; k < more; k++, i++) {
            if (i >= text.size || (text[i] & 0xC0) != 0x80) return false;
            if (k > 0) continue;
            if ((first == 0xE0 && text[i] < 0xA0) || (first == 0xED && text[i] >= 0xA0) ||
                (first == 0xF0 && text[i] < 0x90) || (first == 0xF4 && text[i] >= 0x90))
                return false;
        }
    }
    return true;
}

/// The bytes that ImageMagick writes as digits behind three lines; nothing if they are no digits.
std::optional<std::vector<std::uint8_t>> from_digits(Bytes text) {
    const std::uint8_t* from = text.begin();
    for (int line = 0; line < 3; line++) {
        from = std::find(from, text.end(), '\n');
        if (from == text.end()) return std::vector<std::uint8_t>{};
        from++;
    }
    std::vector<std::uint8_t> bytes;
    int high = -1;
    for (; from < text.end(); from++) {
        const std::uint8_t c = *from;
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        const bool line_end = c == '\n';
        if (digit < 0 && !line_end && (high >= 0 || (c != ' ' && (c < '\t' || c > '\r'))))
            return std::nullopt;
        if (digit < 0) continue;
        if (high < 0) {
            high = digit;
        } else {
            bytes.push_back(static_cast<std::uint8_t>(high << 4 | digit));
            high = -1;
        }
    }
    if (high >= 0) return std::nullopt;
    return bytes;
}

}  // namespace

void check_png(Bytes file) {
    std::size_t place = 8;
    while (file.size - place >= 8) {
        const std::size_t length = big32(file.data + place);
        const Bytes name = slice(file, place + 4, 4);
        const std::size_t left = file.size - place - 8;
        if (left < 4 || left - 4 < length) {
            if (is(name, "IEND") && length == 0) return;
            throw damaged("cut off in its chunk " + named(name));
        }
        const std::uint8_t* end = name.data + 4 + length;
        const uLong checksum = crc32(0, name.data, static_cast<uInt>(4 + length));
        if (checksum != big32(end)) throw damaged("wrong checksum of its chunk " + named(name));
        if (is(name, "IEND")) return;
        place += 8 + length + 4;
    }
}

PngChunk PngChunks::next() {
    const Bytes head = slice(file_, place_, 8);
    place_ += head.size;
    const Bytes name = slice(head, 4);
    if (head.size < 4) throw std::out_of_range("no chunk");
    const bool word = name.size == 4 && std::all_of(name.begin(), name.end(), [](std::uint8_t c) {
                          return is_letter(c) || (c >= '0' && c <= '9') || c == '_';
                      });
    if (!word) throw std::invalid_argument("broken PNG file (chunk " + quoted(name) + ")");
    return {text_of(name), place_, big32(head.data)};
}

void PngChunks::read_header() {
    try {
        while (true) {
            const PngChunk chunk = next();
            if (!take(chunk)) break;
            place_ += chunk.length + 4;
        }
    } catch (const std::logic_error&) {  // out_of_range, invalid_argument: no PNG after all
        throw damaged_header(format_);
    }
    if (!known_mode_ || width_ <= 0 || height_ <= 0) throw damaged_header(format_);
}

void PngChunks::read_rest() {
    place_ = data_place_ + data_left_;
    const bool animated = frames_ && std::uint64_t{*frames_} + (default_image_ ? 1 : 0) > 1;
    const Bytes palette = palette_;
    try {
        while (true) {
            place_ += 4;
            const PngChunk chunk = next();
            if (chunk.name == "IEND" || (chunk.name == "fcTL" && animated)) break;
            take(chunk);
            place_ = chunk.place + chunk.length;
        }
    } catch (const std::exception&) {
        // It ends here.
    }
    palette_ = palette;
}

Bytes PngChunks::next_data(std::size_t most) {
    while (data_left_ == 0) {
        place_ = data_place_ + 4;
        PngChunk chunk;
        try {
            chunk = next();
        } catch (const std::out_of_range&) {
            throw damaged("image file is truncated");
        } catch (const std::invalid_argument& error) {
            throw damaged(error.what());
        }
        data_place_ = chunk.place;
        if (chunk.name == "fdAT") {
            try {
                start_frame_data(chunk);
            } catch (const std::invalid_argument& error) {
                throw damaged(error.what());
            }
        } else if (chunk.name == "IDAT" || chunk.name == "DDAT") {
            data_left_ = chunk.length;
        } else {
            data_place_ = chunk.place - 12;  // it is read again with the rest
            return Bytes(file_.data, 0);
        }
    }
    const Bytes data = slice(file_, data_place_, std::min(most, data_left_));
    data_place_ += data.size;
    data_left_ = data.size ? data_left_ - data.size : 0;
    return data;
}

/// Take a chunk in; return false if it starts the picture or ends the file.
bool PngChunks::take(const PngChunk& chunk) {
    const std::string& name = chunk.name;
    const Bytes content = slice(file_, chunk.place, chunk.length);
    auto need = [&](std::size_t least) {
        if (content.size < least) throw damaged("Truncated " + name + " chunk");
    };
    if (name == "IDAT") {
        if (!known_mode_) return true;  // it belongs to no picture
        start_data(chunk.place, chunk.length);
        return false;
    }
    if (name == "IEND") return false;
    if (name == "fdAT") {
        start_frame_data(chunk);
        if (!known_mode_) throw damaged_header(format_);
        start_data(data_place_, data_left_);
        return false;
    }
    if (name == "IHDR") take_size(content);
    if (name == "PLTE" && colour_ == 3) palette_ = content;
    if (name == "tRNS") take_transparency(content);
    if (name == "gAMA") need(4);
    if (name == "cHRM") need(32);
    if (name == "sRGB") need(1);
    if (name == "pHYs") need(9);
    if (name == "iCCP") take_profile(content);
    if (name == "tEXt") take_text(content);
    if (name == "zTXt") take_compressed_text(content);
    if (name == "iTXt") take_international_text(content);
    if (name == "eXIf") exif_ = Text{copy(content), false};
    if (name == "acTL") {
        if (content.size < 8) throw damaged("APNG contains truncated acTL chunk");
        const std::uint32_t count = big32(content.data);
        if (frames_)
            frames_.reset();
        else if (count != 0 && count <= 0x80000000)
            frames_ = count;
    }
    if (name == "fcTL") take_frame(content);
    return true;
}

void PngChunks::take_size(Bytes content) {
    if (content.size < 13) throw damaged("Truncated IHDR chunk");
    width_ = big32(content.data);
    height_ = big32(content.data + 4);
    if (is_known_mode(content[8], content[9])) {
        known_mode_ = true;
        depth_ = content[8];
        colour_ = content[9];
    }
    if (content[12]) interlaced_ = true;
    if (content[11]) throw damaged_header(format_);
}

void PngChunks::take_transparency(Bytes content) {
    constexpr std::size_t entries = 256;
    if (colour_ == 3) {
        const std::uint8_t* zero = find_zero(content);
        auto solid = [](std::uint8_t alpha) { return alpha == 255; };
        const bool one = zero != content.end() && std::all_of(content.begin(), zero, solid) &&
                         std::all_of(zero + 1, content.end(), solid);
        if (one)
            transparency_fits_ = static_cast<std::size_t>(zero - content.begin()) < entries;
        else
            transparency_fits_ = content.size <= entries;
    } else if (known_mode_ && (colour_ == 0 || (colour_ == 2))) {
        if (content.size < (colour_ == 2 ? 6u : 2u)) throw damaged("Truncated tRNS chunk");
    }
}

void PngChunks::take_profile(Bytes content) {
    const std::uint8_t* zero = find_zero(content);
    const std::size_t method =
        zero == content.end() ? 0 : static_cast<std::size_t>(zero - content.begin()) + 1;
    if (method >= content.size || content[method] != 0) throw damaged_header(format_);
    // Without a name, all but the first byte.
    bool sound;
    decompressed(slice(content, method + 1), sound);
}

void PngChunks::count_text(std::size_t length) {
    text_ += length;
    if (text_ > max_all_text)
        throw damaged("Too much memory used in text chunks: " + std::to_string(text_) +
                      ">MAX_TEXT_MEMORY");
}

void PngChunks::keep(Bytes key, std::vector<std::uint8_t> value, bool is_text) {
    count_text(value.size());
    Text text{std::move(value), is_text};
    if (is(key, "exif"))
        exif_ = std::move(text);
    else if (is(key, "Raw profile type exif"))
        raw_exif_ = std::move(text);
    else if (is(key, "XML:com.adobe.xmp"))
        xmp_text_ = std::move(text);
    else if (is(key, "xmp"))
        xmp_ = std::move(text);
}

void PngChunks::take_text(Bytes content) {
    const std::uint8_t* zero = find_zero(content);
    const Bytes key = between(content.begin(), zero);
    const Bytes value = zero == content.end() ? Bytes(zero, 0) : between(zero + 1, content.end());
    if (key.size) keep(key, copy(value), !is(key, "exif"));
}

void PngChunks::take_compressed_text(Bytes content) {
    const std::uint8_t* zero = find_zero(content);
    const Bytes key = between(content.begin(), zero);
    const Bytes value = zero == content.end() ? Bytes(zero, 0) : between(zero + 1, content.end());
    if (value.size && value[0] != 0) throw damaged_header(format_);
    bool sound;
    std::vector<std::uint8_t> text = decompressed(slice(value, 1), sound);
    if (!sound) text.clear();
    if (key.size) keep(key, std::move(text), true);
}

void PngChunks::take_international_text(Bytes content) {
    const std::uint8_t* zero = find_zero(content);
    if (zero == content.end()) return;
    const Bytes key = between(content.begin(), zero);
    const Bytes rest = between(zero + 1, content.end());
    if (rest.size < 2) return;
    const Bytes texts = slice(rest, 2);
    const std::uint8_t* language_end = find_zero(texts);
    if (language_end == texts.end()) return;
    const Bytes after = between(language_end + 1, texts.end());
    const std::uint8_t* key_end = find_zero(after);
    if (key_end == after.end()) return;
    std::vector<std::uint8_t> value = copy(between(key_end + 1, after.end()));
    if (rest[0] != 0) {
        if (rest[1] != 0) return;
        bool sound;
        value = decompressed(value, sound);
        if (!sound) return;
    }
    if (is(key, "XML:com.adobe.xmp")) xmp_ = Text{value, false};
    if (!is_utf8(between(texts.begin(), language_end)) ||
        !is_utf8(between(after.begin(), key_end)) || !is_utf8(value))
        return;
    keep(key, std::move(value), true);
}

void PngChunks::take_frame(Bytes content) {
    if (content.size < 26) throw damaged("APNG contains truncated fcTL chunk");
    const std::uint32_t sequence = big32(content.data);
    if (sequence_ ? *sequence_ + std::uint64_t{1} != sequence : sequence != 0)
        throw damaged_header(format_);
    sequence_ = sequence;
    const std::uint64_t width = big32(content.data + 4), height = big32(content.data + 8);
    const std::uint64_t left = big32(content.data + 12), top = big32(content.data + 16);
    if (left + width > static_cast<std::uint64_t>(width_) ||
        top + height > static_cast<std::uint64_t>(height_))
        throw damaged_header(format_);
    frame_ = Region{static_cast<int>(left), static_cast<int>(top), static_cast<int>(left + width),
                    static_cast<int>(top + height)};
}

void PngChunks::start_frame_data(const PngChunk& chunk) {
    if (chunk.length < 4) throw damaged("APNG contains truncated fDAT chunk");
    const std::uint32_t sequence = big32(file_.data + chunk.place);
    if (!sequence_ || *sequence_ + std::uint64_t{1} != sequence)
        throw std::invalid_argument("APNG contains frame sequence errors");
    sequence_ = sequence;
    data_place_ = chunk.place + 4;
    data_left_ = chunk.length - 4;
}

void PngChunks::start_data(std::size_t place, std::size_t length) {
    if (has_data_) return;  // another picture, behind the one that is read
    has_data_ = true;
    part_ = frame_;
    default_image_ = !frame_ && frames_;
    data_place_ = place;
    data_left_ = length;
}

int PngChunks::orientation() const {
    Metadata metadata;
    std::optional<std::vector<std::uint8_t>> digits;
    if (exif_) {
        metadata.broken = exif_->is_text;
        metadata.exif = Bytes(exif_->bytes);
    } else if (raw_exif_) {
        digits = from_digits(raw_exif_->bytes);
        metadata.broken = !digits;
        if (digits) metadata.exif = Bytes(*digits);
    }
    if (xmp_text_ && !xmp_text_->bytes.empty()) {
        metadata.xmp = Bytes(xmp_text_->bytes);
    } else if (xmp_ && !xmp_->bytes.empty()) {
        if (!xmp_->is_text) metadata.xmp = Bytes(xmp_->bytes);
    }
    return orientation_of(metadata);
}

}  // namespace fleetnet
