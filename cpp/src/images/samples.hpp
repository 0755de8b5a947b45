// Samples of 16 bits to 8.
#pragma once

#include <algorithm>
#include <cstdint>

namespace fleetnet {

/// Return the upper eight of the `bits` that are used; samples above them become 255.
inline std::uint8_t upper_eight(std::uint32_t sample, int bits) {
    return static_cast<std::uint8_t>(std::min(sample, (std::uint32_t{1} << bits) - 1) >>
                                     (bits - 8));
}

}  // namespace fleetnet
