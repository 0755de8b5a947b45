// Decoding image files to upright RGB pixels: the pixels that fleetnet.images gives in Python.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bytes.hpp"

namespace fleetnet {

/// `height` rows of `width` RGB triples, nothing between them.
struct Pixels {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;
};

/// Where in a decoded picture the upright picture is: left, top, right, bottom.
struct Extent {
    double box[4];
};

/// Decodes one format; the format is found by the first bytes (images/formats.cpp).
class Decoder {
   public:
    virtual ~Decoder() = default;
    /// Return the upright picture; a JPEG's sides divided by `shrink` (1, 2, 4, 8), rounded up.
    virtual Pixels decode(int shrink) = 0;
};

/// A picture whose header is read and whose pixels are decoded on demand.
///
/// Throws Error(Code::image) with Python's message: unknown or absent format, damaged, truncated,
/// or more pixels than are allowed.
class OpenImage {
   public:
    /// `data` has to outlive the object. `sample_bits`: how many bits of 16-bit samples are used
    /// where the format does not say; all 16 if absent.
    explicit OpenImage(Bytes data, std::optional<int> sample_bits = std::nullopt);
    ~OpenImage();

    int width() const;   ///< of the upright picture at full size
    int height() const;
    const std::string& format() const;  ///< "JPEG", "PNG", …

    Pixels decode(int shrink = 1);
    Extent extent(int shrink) const;

   private:
    struct State;
    std::unique_ptr<State> state_;
};

/// Read a file's content; `-` is standard input. `path` is UTF-8 on Windows, bytes elsewhere.
///
/// Throws Error(Code::image) with Python's message: no such file, empty, over 256 MiB, …
std::vector<std::uint8_t> read_image_file(const std::string& path);

/// Names of the formats that this build decodes, for `--version`.
std::vector<std::string> formats();

}  // namespace fleetnet
