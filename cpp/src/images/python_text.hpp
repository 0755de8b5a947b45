// Values as Python writes them, for messages that are its to the letter.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "bytes.hpp"

namespace fleetnet {

/// Bytes as `repr` writes them.
inline std::string quoted(Bytes bytes) {
    bool single = false, twice = false;
    for (const std::uint8_t byte : bytes) {
        single = single || byte == '\'';
        twice = twice || byte == '"';
    }
    const char mark = single && !twice ? '"' : '\'';
    std::string text = std::string("b") + mark;
    for (const std::uint8_t byte : bytes) {
        const char c = static_cast<char>(byte);
        if (c == '\\' || c == mark) {
            text += '\\';
            text += c;
        } else if (c == '\n') {
            text += "\\n";
        } else if (c == '\r') {
            text += "\\r";
        } else if (c == '\t') {
            text += "\\t";
        } else if (byte >= ' ' && byte < 127) {
            text += c;
        } else {
            char code[8];
            std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned>(byte));
            text += code;
        }
    }
    return text + mark;
}

}  // namespace fleetnet
