// Decoding image files to upright RGB pixels: the pixels that fleetnet.images gives in Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bytes.hpp"

namespace fleetnet {

/// Bytes whose content is undefined at first: of a large picture only what a crop needs is written,
/// and memory that nobody touches costs nothing.
class Buffer {
   public:
    Buffer() = default;
    explicit Buffer(std::size_t size);

    std::uint8_t* data() { return data_.get(); }
    const std::uint8_t* data() const { return data_.get(); }
    std::size_t size() const { return size_; }

   private:
    struct Free {
        void operator()(std::uint8_t* memory) const { std::free(memory); }
    };

    std::size_t size_ = 0;
    std::unique_ptr<std::uint8_t, Free> data_;
};

/// `height` rows of `width` RGB triples, nothing between them.
struct Pixels {
    int width = 0;
    int height = 0;
    Buffer rgb;

    Pixels() = default;
    /// Pixels that are not written yet.
    Pixels(int w, int h);

    std::size_t stride() const { return static_cast<std::size_t>(width) * 3; }
    std::uint8_t* row(int y) { return rgb.data() + stride() * static_cast<std::size_t>(y); }
    const std::uint8_t* row(int y) const {
        return rgb.data() + stride() * static_cast<std::size_t>(y);
    }
};

/// A part of a picture, in whole pixels; right and bottom are behind its last ones.
struct Region {
    int left = 0;
    int top = 0;
    int right = 0;
    int bottom = 0;
};

/// Where in a decoded picture the upright picture is: left, top, right, bottom.
struct Extent {
    double box[4];
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

    int width() const;  ///< of the upright picture at full size
    int height() const;
    const std::string& format() const;  ///< "JPEG", "PNG", …

    /// Return the upright picture; a JPEG's sides divided by `shrink` (1, 2, 4, 8), rounded up.
    ///
    /// Pixels outside of `needed` may be undefined. The whole file is checked nevertheless.
    Pixels decode(int shrink = 1, const Region* needed = nullptr);
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
