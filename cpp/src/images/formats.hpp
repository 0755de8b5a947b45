// Which format a file is in, by its first bytes.
#pragma once

#include <string>
#include <vector>

#include "images/decoder.hpp"

namespace fleetnet {

struct Format {
    std::string name;
    bool (*begins)(Bytes file);
    /// Null for JPEG, which is decoded on demand, and for formats that this build does not decode.
    Decoded (*decode)(Bytes file, const Setup& setup);
};

/// Throws Error(Code::image): it is no format that is known.
const Format& format_of(Bytes file);

const std::vector<Format>& known_formats();

}  // namespace fleetnet
