// What a format's reader owes the rest: one file a format, listed in formats.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "images/image.hpp"

namespace fleetnet {

/// A picture as it is stored, with what its file says of turning it upright.
struct Decoded {
    Pixels pixels;
    int orientation = 1;  ///< as EXIF numbers it
};

struct Setup {
    std::string format;  ///< that messages name
    std::optional<int> sample_bits;
};

/// Each decodes a file of its format, at full size. They throw Error(Code::image).
Decoded decode_png(Bytes file, const Setup& setup);
Decoded decode_gif(Bytes file, const Setup& setup);
Decoded decode_bmp(Bytes file, const Setup& setup);
Decoded decode_dib(Bytes file, const Setup& setup);
Decoded decode_ico(Bytes file, const Setup& setup);
Decoded decode_ppm(Bytes file, const Setup& setup);
Decoded decode_qoi(Bytes file, const Setup& setup);
Decoded decode_tga(Bytes file, const Setup& setup);
Decoded decode_webp(Bytes file, const Setup& setup);
Decoded decode_tiff(Bytes file, const Setup& setup);

/// A JPEG's header is read at once, its pixels on demand: only they can be decoded smaller.
class Jpeg {
   public:
    explicit Jpeg(Bytes file);

    int width() const { return width_; }  ///< as stored
    int height() const { return height_; }
    int orientation() const { return orientation_; }

    /// Return the picture as stored, sides divided by `shrink`; see OpenImage::decode.
    Pixels decode(int shrink, const Region* needed) const;

   private:
    Bytes file_;
    std::vector<std::uint8_t> ended_;  ///< the file with its end marker, if that was missing
    int width_ = 0;
    int height_ = 0;
    int layers_ = 0;
    int orientation_ = 1;
};

}  // namespace fleetnet
