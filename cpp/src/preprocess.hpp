// How a picture of any size becomes a network's input; the arithmetic is the C core's (native/).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bytes.hpp"
#include "fleetnet_core.h"
#include "images/image.hpp"

namespace fleetnet {

/// What a bundle says of preprocessing; see fleetnet.preprocess.Preprocess in Python.
struct Preprocess {
    int resize = 256;
    int crop = 224;
    fleetnet_filter interpolation = FLEETNET_BILINEAR;
    std::array<double, 3> mean{};  ///< inside the graph already; kept to be shown
    std::array<double, 3> std{};
    std::optional<int> sample_bits;

    std::size_t input_bytes() const { return static_cast<std::size_t>(crop) * crop * 3; }

    /// Decode an image file's bytes to crop × crop RGB triples at `out`, of input_bytes().
    ///
    /// `exact` false allows a large JPEG to be decoded smaller. Throws Error(Code::image).
    void input_of(Bytes file, bool exact, std::uint8_t* out) const;

    /// The same for pixels that are decoded already.
    void input_of(const std::uint8_t* rgb, int width, int height, std::uint8_t* out) const;
};

}  // namespace fleetnet
