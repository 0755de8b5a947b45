// EXIF orientation: reading it, and turning pictures upright.
#pragma once

#include <optional>
#include <string>

#include "images/image.hpp"

namespace fleetnet {

/// What a file says of its orientation, in the two places where it can.
struct Metadata {
    std::optional<Bytes> exif;  ///< with or without "Exif\0\0" before it
    std::optional<Bytes> xmp;
    /// EXIF that cannot be read at all, which hides the XMP.
    bool broken = false;
};

/// Return 1 to 8; 1, upright, if absent or damaged.
int orientation_of(const Metadata& metadata);

/// The same of a TIFF file's own directory, at `offset`.
int orientation_of_tiff(Bytes file, std::size_t offset, const std::optional<Bytes>& xmp);

/// Tell whether an orientation exchanges rows and columns.
bool is_sideways(int orientation);

/// Return where a part of an upright picture of this size is in the stored one.
Region stored_region(const Region& upright, int width, int height, int orientation);

/// Return stored pixels upright; of them only what is needed, if that is given.
Pixels turn_upright(Pixels stored, int orientation, const Region* needed = nullptr);

}  // namespace fleetnet
