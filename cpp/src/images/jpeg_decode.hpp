// The two ways in which a JPEG's pixels are decoded, both by libjpeg-turbo.
#pragma once

#include <cstddef>
#include <cstdint>

#include "images/image.hpp"

namespace fleetnet {

/// Decode a file that has nothing to complain of; false at libjpeg's first warning or error.
///
/// Only what is `needed` of the pixels is written, and all of the file is read. `width` and
/// `height` are those of the picture as stored; libjpeg has to read the same. `out` has room for
/// the picture of sides divided by `shrink`; null if only the answer is wanted.
bool decode_jpeg_strictly(Bytes file, int width, int height, int shrink, const Region* needed,
                          std::uint8_t* out);

/// How a file went that has something to complain of, or is CMYK.
struct LenientResult {
    enum { whole, broken, truncated } state;
    std::size_t left;  ///< bytes that were not used of a truncated file
};

/// Decode a file as Python's library does: libjpeg's warnings are passed over, and a file that ends
/// too early is an error. `layers` are 1, 3 or 4, and `out` gets RGB of them.
LenientResult decode_jpeg_leniently(Bytes file, int width, int height, int layers, int shrink,
                                    std::uint8_t* out);

/// The size that libjpeg reads in a header without warnings; false if there are any.
bool strict_jpeg_size(Bytes file, int& width, int& height);

}  // namespace fleetnet
