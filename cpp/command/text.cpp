#include "text.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "characters.hpp"

namespace fleetnet::command {

namespace {

constexpr char32_t first_escape = 0xDC80, last_escape = 0xDCFF;
constexpr char32_t wide_after = 0xFE0F;  // variation selector 16: the emoji, not the letter

bool is_surrogate(char32_t sign) { return sign >= 0xD800 && sign <= 0xDFFF; }

/// Return how many bytes the character at the beginning has; 0 if it is none.
std::size_t decode(std::string_view bytes, char32_t& sign) {
    const auto byte = [&](std::size_t place) { return static_cast<unsigned char>(bytes[place]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        sign = first;
        return 1;
    }
    const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || bytes.size() < length) return 0;
    sign = first & (0xFFU >> (length + 1));
    for (std::size_t place = 1; place < length; ++place) {
        if ((byte(place) & 0xC0) != 0x80) return 0;
        sign = sign << 6 | (byte(place) & 0x3FU);
    }
    const char32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
    if (sign < least || sign > 0x10FFFF) return 0;
#ifndef _WIN32
    // Windows' names may have halves of characters, which is how they are encoded there.
    if (is_surrogate(sign)) return 0;
#endif
    return length;
}

void encode(char32_t sign, std::string& bytes) {
    const auto add = [&](char32_t value) { bytes.push_back(static_cast<char>(value)); };
    if (sign < 0x80) {
        add(sign);
    } else if (sign < 0x800) {
        add(0xC0 | sign >> 6);
        add(0x80 | (sign & 0x3F));
    } else if (sign < 0x10000) {
        add(0xE0 | sign >> 12);
        add(0x80 | (sign >> 6 & 0x3F));
        add(0x80 | (sign & 0x3F));
    } else {
        add(0xF0 | sign >> 18);
        add(0x80 | (sign >> 12 & 0x3F));
        add(0x80 | (sign >> 6 & 0x3F));
        add(0x80 | (sign & 0x3F));
    }
}

Text ascii(const char* text) { return Text(text, text + std::char_traits<char>::length(text)); }

/// Python's escape of a character: \n, \x1b, \u202e, \U000e0001.
Text escape(char32_t sign) {
    if (sign == '\n') return U"\\n";
    if (sign == '\r') return U"\\r";
    if (sign == '\t') return U"\\t";
    char text[16];
    const char* form = sign < 0x100 ? "\\x%02x" : sign < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(text, sizeof text, form, static_cast<unsigned>(sign));
    return ascii(text);
}

std::size_t cells_of(char32_t sign) {
    const auto* after = std::upper_bound(
        std::begin(tables::widths), std::end(tables::widths), sign,
        [](char32_t wanted, const tables::Width& width) { return wanted < width.first; });
    return std::prev(after)->cells;
}

bool widens(char32_t sign) {
    return std::binary_search(std::begin(tables::narrow_to_wide), std::end(tables::narrow_to_wide),
                              static_cast<std::uint32_t>(sign));
}

/// Characters that are shown as one, and the cells they take.
struct Span {
    std::size_t begin;
    std::size_t cells;
};

/// Divide a text without U+200D, which printable() escapes, into spans; see rich.cells.
std::vector<Span> spans_of(const Text& text) {
    std::vector<Span> spans;
    char32_t measured = 0;
    for (std::size_t place = 0; place < text.size(); ++place) {
        const char32_t sign = text[place];
        if (sign == wide_after && !spans.empty()) {
            if (measured != 0 && widens(measured)) {
                ++spans.back().cells;
                measured = 0;
            }
            continue;
        }
        const std::size_t cells = sign == wide_after ? 0 : cells_of(sign);
        if (cells > 0) measured = sign;
        if (cells > 0 || spans.empty()) spans.push_back({place, cells});
    }
    return spans;
}

}  // namespace

Text text_of(std::string_view bytes) {
    Text text;
    text.reserve(bytes.size());
    while (!bytes.empty()) {
        char32_t sign = 0;
        std::size_t length = decode(bytes, sign);
        if (length == 0) {
            sign = 0xDC00 + static_cast<unsigned char>(bytes[0]);
            length = 1;
        }
        text.push_back(sign);
        bytes.remove_prefix(length);
    }
    return text;
}

std::string bytes_of(const Text& text) {
    std::string bytes;
    bytes.reserve(text.size());
    for (const char32_t sign : text) {
#ifndef _WIN32
        if (sign >= first_escape && sign <= last_escape) {
            bytes.push_back(static_cast<char>(sign - 0xDC00));
            continue;
        }
#endif
        encode(sign, bytes);
    }
    return bytes;
}

std::string shown(const Text& text) {
    std::string bytes;
    bytes.reserve(text.size());
    for (const char32_t sign : text) {
        if (is_surrogate(sign)) {
            bytes += bytes_of(escape(sign));
        } else {
            encode(sign, bytes);
        }
    }
    return bytes;
}

Text printable(const Text& text) {
    Text safe;
    safe.reserve(text.size());
    for (const char32_t sign : text) {
        if (is_printable(sign)) {
            safe.push_back(sign);
        } else {
            safe += escape(sign);
        }
    }
    return safe;
}

std::string printable(std::string_view bytes) { return bytes_of(printable(text_of(bytes))); }

Text quoted(const Text& text) {
    const bool has_single = text.find(U'\'') != Text::npos;
    const char32_t quote = has_single && text.find(U'"') == Text::npos ? U'"' : U'\'';
    Text result(1, quote);
    for (const char32_t sign : text) {
        if (sign == quote || sign == U'\\') result += U'\\';
        result += is_printable(sign) ? Text(1, sign) : escape(sign);
    }
    return result + quote;
}

std::size_t cell_length(const Text& text) {
    const bool selects = text.find(wide_after) != Text::npos;
    std::size_t cells = 0;
    if (!selects) {
        for (const char32_t sign : text) cells += cells_of(sign);
        return cells;
    }
    for (const Span& span : spans_of(text)) cells += span.cells;
    return cells;
}

Text shorten(const Text& text, std::size_t columns) {
    Text safe = printable(text);
    if (cell_length(safe) <= columns) return safe;
    const std::size_t room = columns - 1;
    std::size_t used = 0;
    Text kept;
    for (const Span& span : spans_of(safe)) {
        if (used + span.cells > room || used == room) {
            kept = safe.substr(0, span.begin);
            break;
        }
        used += span.cells;
    }
    // rich fills the half of a wide character with a blank, which goes away here.
    kept.erase(kept.find_last_not_of(U' ') + 1);
    return kept + U'…';
}

Text lower(Text text) {
    Text result;
    for (const char32_t sign : text) {
        if (sign == 0x130) {  // the only one that becomes two
            result += U"i\u0307";
            continue;
        }
        const auto* after = std::upper_bound(
            std::begin(tables::lower), std::end(tables::lower), sign,
            [](char32_t wanted, const tables::Lower& range) { return wanted < range.first; });
        const auto* range = after == std::begin(tables::lower) ? nullptr : std::prev(after);
        const bool changes =
            range != nullptr && sign <= range->last && (sign - range->first) % range->step == 0;
        result +=
            changes ? static_cast<char32_t>(static_cast<std::int32_t>(sign) + range->add) : sign;
    }
    return result;
}

Text folded(Text text) {
    static constexpr struct {
        char32_t sign;
        const char* ascii;
    } folds[] = {{0xDF, "ss"},   {0x17F, "s"},    {0x1E9E, "ss"},  {0xFB00, "ff"}, {0xFB01, "fi"},
                 {0xFB02, "fl"}, {0xFB03, "ffi"}, {0xFB04, "ffl"}, {0xFB05, "st"}, {0xFB06, "st"}};
    Text result;
    for (const char32_t sign : text) {
        const auto* found = std::find_if(std::begin(folds), std::end(folds),
                                         [&](const auto& fold) { return fold.sign == sign; });
        result += found == std::end(folds) ? Text(1, sign) : ascii(found->ascii);
    }
    return lower(std::move(result));
}

bool is_alphanumeric(char32_t sign) { return range_of(tables::alphanumeric, sign) != nullptr; }

bool is_space(char32_t sign) {
    return (sign >= 0x9 && sign <= 0xD) || (sign >= 0x1C && sign <= 0x20) || sign == 0x85 ||
           sign == 0xA0 || sign == 0x1680 || (sign >= 0x2000 && sign <= 0x200A) || sign == 0x2028 ||
           sign == 0x2029 || sign == 0x202F || sign == 0x205F || sign == 0x3000;
}

int decimal(char32_t sign) {
    const tables::Range* digits = range_of(tables::decimals, sign);
    return digits == nullptr ? -1 : static_cast<int>(sign - digits->first);
}

std::string grouped(std::size_t number) {
    std::string digits = std::to_string(number);
    for (std::size_t place = digits.size(); place > 3; place -= 3) digits.insert(place - 3, ",");
    return digits;
}

}  // namespace fleetnet::command
