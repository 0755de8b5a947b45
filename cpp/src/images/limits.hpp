// How much of a file from outside is read and decoded, and how a refusal is worded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "error.hpp"

namespace fleetnet {

constexpr std::size_t max_bytes = std::size_t{256} << 20;
/// A quarter of a gigabyte once decoded.
constexpr std::int64_t max_pixels = 89'478'485;
/// For the formats whose decoders are slow in Python: all hosts refuse the same files.
constexpr std::int64_t max_slow_pixels = 16'000'000;

inline Error image_error(const std::string& message) { return Error(Code::image, message); }
inline Error damaged(const std::string& reason) { return image_error("damaged image: " + reason); }
/// A header that makes no sense, of a format that the first bytes tell.
inline Error damaged_header(const std::string& format) {
    return damaged("the header of this " + format + " file");
}

/// Throws Error(Code::image) for a picture that is too large; call it before memory is allocated.
void check_size(std::int64_t width, std::int64_t height, bool slow = false);

}  // namespace fleetnet
