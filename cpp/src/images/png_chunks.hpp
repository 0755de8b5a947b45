// The chunks of a PNG file: checked, and what they say of the picture, as Python's library takes
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "images/image.hpp"
#include "images/orientation.hpp"

namespace fleetnet {

/// Check the checksum of every chunk. Only the chunk that ends a file may be missing.
///
/// Throws Error(Code::image): a checksum is wrong, or a chunk is cut off.
void check_png(Bytes file);

struct PngChunk {
    std::string name;
    std::size_t place = 0;  ///< of its content
    std::size_t length = 0;
};

/// Goes through a file's chunks, those with the picture excepted, and keeps what matters.
class PngChunks {
   public:
    PngChunks(Bytes file, std::string format) : file_(file), format_(std::move(format)) {}

    /// Read the chunks up to the picture's. Throws Error(Code::image).
    void read_header();
    /// Read those behind it; what is wrong there is no reason to refuse a whole picture.
    void read_rest();

    /// The next piece of the picture's data, at most `most` long; empty if there is no more.
    Bytes next_data(std::size_t most);

    std::int64_t width() const { return width_; }
    std::int64_t height() const { return height_; }
    int depth() const { return depth_; }
    int colour() const { return colour_; }
    bool interlaced() const { return interlaced_; }
    bool has_data() const { return has_data_; }
    const std::optional<Region>& part() const { return part_; }  ///< of the picture; else all of it
    Bytes palette() const { return palette_; }
    bool transparency_fits() const { return transparency_fits_; }
    int orientation() const;

   private:
    struct Text {
        std::vector<std::uint8_t> bytes;
        bool is_text =
            false;  ///< and not bytes: where Python's library expects the other, it fails
    };

    PngChunk next();
    bool take(const PngChunk& chunk);
    void take_size(Bytes content);
    void take_transparency(Bytes content);
    void take_profile(Bytes content);
    void take_text(Bytes content);
    void take_compressed_text(Bytes content);
    void take_international_text(Bytes content);
    void take_frame(Bytes content);
    void start_frame_data(const PngChunk& chunk);
    void start_data(std::size_t place, std::size_t length);
    void keep(Bytes key, std::vector<std::uint8_t> value, bool is_text);
    void count_text(std::size_t length);

    Bytes file_;
    std::string format_;  ///< that messages name
    std::size_t place_ = 8;
    std::int64_t width_ = 0, height_ = 0;
    int depth_ = 0, colour_ = 0;
    bool known_mode_ = false;
    bool interlaced_ = false;
    bool has_data_ = false;
    bool transparency_fits_ = true;
    std::optional<Region> frame_, part_;
    Bytes palette_;
    std::size_t data_place_ = 0, data_left_ = 0;
    std::optional<std::uint32_t> sequence_, frames_;
    bool default_image_ = false;
    std::size_t text_ = 0;
    std::optional<Text> exif_, raw_exif_, xmp_text_, xmp_;
};

}  // namespace fleetnet
