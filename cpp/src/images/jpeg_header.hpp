// What a JPEG file's header says, read as Python's library reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "bytes.hpp"

namespace fleetnet {

struct JpegHeader {
    int width = 0;
    int height = 0;
    int layers = 0;  ///< 1: grey, 3: colour, 4: CMYK
    std::optional<std::vector<std::uint8_t>> exif;
    std::optional<std::vector<std::uint8_t>> xmp;
};

/// Throws Error(Code::image).
JpegHeader read_jpeg_header(Bytes file);

/// Tell whether a file lacks an end marker behind its first scan.
bool lacks_jpeg_end(Bytes file);

/// Tell whether a file has every bit of every coefficient of every component.
///
/// A progressive file that was cut off between two scans decodes without an error to a blurred
/// picture.
bool has_all_scans(Bytes file);

}  // namespace fleetnet
