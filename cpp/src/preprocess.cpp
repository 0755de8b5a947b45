#include "preprocess.hpp"

#include <algorithm>
#include <cmath>
#include <new>

#include "error.hpp"
#include "words.hpp"

namespace fleetnet {
namespace {

fleetnet_preprocess settings_of(const Preprocess& preprocess) {
    return {preprocess.resize, preprocess.crop, preprocess.interpolation};
}

std::string too_long(double width, double height) {
    return short_number(width) + "×" + short_number(height) +
           " is longer than 1:" + std::to_string(FLEETNET_MAX_ASPECT);
}

/// Which pixels between `start` and `end` of a side of `length` one side of the crop is made of.
void needed_of_side(double start, double end, int length, int resized, int offset, int crop,
                    int& first, int& last) {
    const double scale = (end - start) / resized;
    // Two pixels are bicubic's reach, at the larger of both scales; two more are for rounding.
    const double reach = 2 * std::max(scale, 1.0) + 2;
    const double low = start + offset * scale - reach;
    const double high = start + (offset + crop) * scale + reach;
    first = static_cast<int>(std::clamp(std::floor(low), 0.0, static_cast<double>(length)));
    last = static_cast<int>(std::clamp(std::ceil(high), 0.0, static_cast<double>(length)));
}

/// Which pixels of a decoded picture of this size a crop is made of, or more; all of them where
/// there is no crop.
Region needed_pixels(const fleetnet_preprocess& settings, const Extent& extent, int width,
                     int height) {
    const double* box = extent.box;
    fleetnet_geometry geometry;
    if (fleetnet_geometry_of(&settings, box[2] - box[0], box[3] - box[1], &geometry) != FLEETNET_OK)
        return {0, 0, width, height};
    Region region;
    needed_of_side(box[0], box[2], width, geometry.width, geometry.left, settings.crop, region.left,
                   region.right);
    needed_of_side(box[1], box[3], height, geometry.height, geometry.top, settings.crop, region.top,
                   region.bottom);
    return region;
}

void make_input(const fleetnet_preprocess& settings, const std::uint8_t* rgb, int width, int height,
                const Extent& extent, std::uint8_t* out) {
    const double* box = extent.box;
    switch (fleetnet_make_input(&settings, rgb, width, height, box, out)) {
        case FLEETNET_OK:
            return;
        case FLEETNET_NO_MEMORY:
            throw std::bad_alloc();
        case FLEETNET_TOO_LONG:
            throw Error(Code::image, too_long(box[2] - box[0], box[3] - box[1]));
        case FLEETNET_BAD_ARGUMENT:
            throw Error(Code::argument, "the picture and its preprocessing do not fit each other");
    }
}

int divided(int side, int shrink) { return (side + shrink - 1) / shrink; }

}  // namespace

void Preprocess::input_of(Bytes file, bool exact, std::uint8_t* out) const {
    const fleetnet_preprocess settings = settings_of(*this);
    OpenImage image(file, sample_bits);
    const int shrink = exact ? 1 : fleetnet_shrink_for(&settings, image.width(), image.height());
    const Extent extent = image.extent(shrink);
    const bool smaller = image.format() == "JPEG";
    const int width = smaller ? divided(image.width(), shrink) : image.width();
    const int height = smaller ? divided(image.height(), shrink) : image.height();
    const Region needed = needed_pixels(settings, extent, width, height);
    const Pixels pixels = image.decode(shrink, &needed);
    make_input(settings, pixels.rgb.data(), pixels.width, pixels.height, extent, out);
}

void Preprocess::input_of(const std::uint8_t* rgb, int width, int height, std::uint8_t* out) const {
    const Extent all{{0, 0, static_cast<double>(width), static_cast<double>(height)}};
    make_input(settings_of(*this), rgb, width, height, all, out);
}

}  // namespace fleetnet
