// Any sides and any preprocessing: a crop of the picture, or a refusal.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fleetnet_core.h"

namespace {

/// The crop lies in the resized picture, unless the sides are refused.
void check_geometry(const fleetnet_preprocess& settings, double width, double height) {
    fleetnet_geometry found;
    if (fleetnet_geometry_of(&settings, width, height, &found) != FLEETNET_OK) return;
    const bool within = found.left >= 0 && found.left + settings.crop <= found.width &&
                        found.top >= 0 && found.top + settings.crop <= found.height;
    if (!within) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    struct {
        std::uint16_t width, height, resize, crop;
        std::uint8_t filter, shrink, orientation, whole;
    } given;
    if (size < sizeof given) return 0;
    std::memcpy(&given, data, sizeof given);
    const int width = given.width % 512, height = given.height % 512;
    const fleetnet_preprocess settings{given.resize % 300, given.crop % 300,
                                       static_cast<fleetnet_filter>(given.filter % 3)};
    fleetnet_shrink_for(&settings, given.width, given.height);
    const int shrink = 1 << (given.shrink & 3);
    double box[4];
    fleetnet_extent_of(width, height, shrink, given.orientation % 10, box);
    const int wide = (width + shrink - 1) / shrink, high = (height + shrink - 1) / shrink;
    const auto pixels = static_cast<std::size_t>(wide) * static_cast<std::size_t>(high);
    const auto crop = static_cast<std::size_t>(settings.crop);
    // Exactly as large as they have to be, so that a step beyond is seen.
    std::vector<std::uint8_t> rgb(pixels * 3, 7), out(crop * crop * 3);
    const fleetnet_status status = fleetnet_make_input(
        &settings, rgb.data(), wide, high, given.whole & 1 ? nullptr : box, out.data());
    if (status == FLEETNET_OK) {
        // Of one colour nothing else can come, whatever the filter.
        for (const std::uint8_t value : out) {
            if (value != 7) std::abort();
        }
    }
    check_geometry(settings, width, height);
    double sides[2];
    if (size < sizeof given + sizeof sides) return 0;
    std::memcpy(sides, data + sizeof given, sizeof sides);
    check_geometry(settings, sides[0], sides[1]);
    return 0;
}
