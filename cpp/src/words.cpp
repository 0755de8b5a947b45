#include "words.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "characters.hpp"
#include "error.hpp"
#include "likeness.hpp"

namespace fleetnet {
namespace {

/// Take one character of UTF-8 off `text` from `place` on; a byte that is none stands for itself.
char32_t next_character(const std::string& text, std::size_t& place) {
    const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
    const std::uint8_t first = byte(place++);
    const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
    if (more == 0) return first;
    char32_t found = first & (0x3Fu >> more);
    for (int i = 0; i < more && place < text.size() && (byte(place) & 0xC0) == 0x80; ++i) {
        found = found << 6 | (byte(place++) & 0x3Fu);
    }
    return found;
}

std::string escaped(char32_t character) {
    char text[16];
    const char* form = character < 0x100 ? "\\x%02x" : character < 0x10000 ? "\\u%04x" : "\\U%08x";
    std::snprintf(text, sizeof text, form, static_cast<unsigned>(character));
    return text;
}

/// Letters from which on the beginning of a name says which is meant.
constexpr std::size_t kTelling = 3;
/// A word that is longer is nobody's slip of the fingers, and comparing it takes long.
constexpr std::size_t kLongestWord = 200;

}  // namespace

std::string lower(std::string text) {
    for (char& sign : text) {
        if (sign >= 'A' && sign <= 'Z') sign = static_cast<char>(sign - 'A' + 'a');
    }
    return text;
}

std::string repr(const std::string& text) {
    const bool apostrophe = text.find('\'') != std::string::npos;
    const char quote = apostrophe && text.find('"') == std::string::npos ? '"' : '\'';
    std::string shown(1, quote);
    for (std::size_t place = 0; place < text.size();) {
        const std::size_t begin = place;
        const char32_t character = next_character(text, place);
        if (character == '\\' || character == static_cast<char32_t>(quote)) {
            shown += '\\';
            shown += static_cast<char>(character);
        } else if (character == '\n') {
            shown += "\\n";
        } else if (character == '\r') {
            shown += "\\r";
        } else if (character == '\t') {
            shown += "\\t";
        } else if (is_printable(character)) {
            shown.append(text, begin, place - begin);
        } else {
            shown += escaped(character);
        }
    }
    return shown + quote;
}

std::string repr(double number) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
    char text[40];
    const auto end =
        std::to_chars(text, text + sizeof text, number, std::chars_format::scientific).ptr;
    const std::string shortest(text, end);
    const std::size_t e = shortest.find('e');
    const int exponent = std::atoi(shortest.c_str() + e + 1);
    const std::string sign = shortest[0] == '-' ? "-" : "";
    std::string digits;
    for (const char each : shortest.substr(0, e)) {
        if (each >= '0' && each <= '9') digits += each;
    }
    const int places = static_cast<int>(digits.size());
    if (exponent < -4 || exponent >= 16) {
        if (places > 1) digits.insert(1, ".");
        char power[16];
        std::snprintf(power, sizeof power, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
        return sign + digits + power;
    }
    if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
    if (places <= exponent + 1)
        return sign + digits + std::string(exponent + 1 - places, '0') + ".0";
    return sign + digits.insert(exponent + 1, ".");
}

bool is_printable(const std::string& text) {
    for (std::size_t place = 0; place < text.size();) {
        if (!is_printable(next_character(text, place))) return false;
    }
    return true;
}

std::string short_number(double number) {
    char text[32];
    const auto end =
        std::to_chars(text, text + sizeof text, number, std::chars_format::general, 6).ptr;
    return {text, end};
}

std::string one_line(const std::string& text) {
    std::string line;
    bool between = false;
    for (const char sign : text) {
        if (sign == ' ' || (sign >= '\t' && sign <= '\r') || (sign >= 0x1C && sign <= 0x1F)) {
            between = !line.empty();
            continue;
        }
        if (between) line += ' ';
        between = false;
        line += sign;
    }
    return line;
}

std::string count(std::size_t number, const std::string& noun) {
    std::string digits = std::to_string(number);
    for (std::size_t place = digits.size(); place > 3;) digits.insert(place -= 3, ",");
    const char* ending = number == 1 ? "" : !noun.empty() && noun.back() == 's' ? "es" : "s";
    return digits + " " + noun + ending;
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
    std::string text;
    for (const std::string& word : words) text += (&word == &words.front() ? "" : between) + word;
    return text;
}

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
    if (word.size() > kLongestWord) return "";
    const std::string folded = lower(word);
    const auto meant = [](const std::string& name) { return ", did you mean '" + name + "'?"; };
    // Of a name that is cut off the shortest that goes on like it.
    const std::string* longer = nullptr;
    for (const std::string& name : known) {
        const bool goes_on = folded.size() >= kTelling && lower(name).rfind(folded, 0) == 0;
        if (goes_on && (!longer || name.size() < longer->size())) longer = &name;
    }
    if (longer) return meant(*longer);
    const std::string* closest = nullptr;
    double best = 0.5;
    for (const std::string& name : known) {
        const double found = likeness<char>(lower(name), folded);
        // Of those that are equally alike Python takes the last in the alphabet.
        if (found > best || (found == best && (!closest || lower(name) > lower(*closest)))) {
            best = found;
            closest = &name;
        }
    }
    return closest ? meant(*closest) : "";
}

void check_known(const std::string& what, const std::string& word,
                 const std::vector<std::string>& known) {
    if (std::find(known.begin(), known.end(), word) != known.end()) return;
    throw Error(Code::argument, "unknown " + what + " '" + word + "'" + nearest(word, known) +
                                    " (known: " + joined(known, ", ") + ")");
}

}  // namespace fleetnet
