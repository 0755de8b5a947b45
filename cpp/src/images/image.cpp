#include "images/image.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <new>
#include <utility>

#include "geometry.h"
#include "images/decoder.hpp"
#include "images/formats.hpp"
#include "images/limits.hpp"
#include "images/orientation.hpp"

namespace fleetnet {

void check_size(std::int64_t width, std::int64_t height, bool slow) {
    const std::int64_t limit = slow ? max_slow_pixels : max_pixels;
    if (width <= 0 || height <= limit / width) return;
    // Python's library refuses the largest before their size is said.
    if (height > 2 * max_pixels / width)
        throw image_error("more than " + std::to_string(max_pixels / 1'000'000) +
                          " million pixels");
    const std::string million = std::to_string(limit / 1'000'000) + " million pixels";
    throw image_error(std::to_string(width) + "×" + std::to_string(height) + " is more than " +
                      million + (slow ? " for a format that takes so long" : ""));
}

namespace {

/// Memory whose content is undefined; null if there is none.
std::uint8_t* allocate(std::size_t size) {
#ifdef __linux__
    // Large pictures in large pages: asking the system for each of 4 KiB takes a quarter of the
    // time of decoding.
    constexpr std::size_t page = std::size_t{2} << 20;
    if (size >= 2 * page) {
        const std::size_t whole = (size + page - 1) / page * page;
        void* memory = std::aligned_alloc(page, whole);
        if (memory) madvise(memory, whole, MADV_HUGEPAGE);  // where it fails, pages are small
        return static_cast<std::uint8_t*>(memory);
    }
#endif
    return static_cast<std::uint8_t*>(std::malloc(size ? size : 1));
}

}  // namespace

Buffer::Buffer(std::size_t size) : size_(size), data_(allocate(size)) {
    if (!data_) throw std::bad_alloc();
}

Pixels::Pixels(int w, int h)
    : width(w), height(h), rgb(static_cast<std::size_t>(w) * static_cast<std::size_t>(h) * 3) {}

struct OpenImage::State {
    std::string format;
    int width = 0;
    int height = 0;
    int orientation = 1;
    std::optional<Jpeg> jpeg;
    Pixels stored;  ///< of other formats, which are decoded at once
};

OpenImage::OpenImage(Bytes data, std::optional<int> sample_bits)
    : state_(std::make_unique<State>()) {
    const Format& format = format_of(data);
    State& state = *state_;
    state.format = format.name;
    int width = 0, height = 0;
    if (format.name == "JPEG") {
        state.jpeg.emplace(data);
        state.orientation = state.jpeg->orientation();
        width = state.jpeg->width();
        height = state.jpeg->height();
    } else if (format.decode) {
        Decoded decoded = format.decode(data, Setup{format.name, sample_bits});
        state.orientation = decoded.orientation;
        state.stored = std::move(decoded.pixels);
        width = state.stored.width;
        height = state.stored.height;
    } else {
        throw image_error(format.name + " is not in this build of fleetnet: save the image as PNG");
    }
    const bool sideways = is_sideways(state.orientation);
    state.width = sideways ? height : width;
    state.height = sideways ? width : height;
}

OpenImage::~OpenImage() = default;

int OpenImage::width() const { return state_->width; }
int OpenImage::height() const { return state_->height; }
const std::string& OpenImage::format() const { return state_->format; }

Pixels OpenImage::decode(int shrink, const Region* needed) {
    State& state = *state_;
    if (!state.jpeg) {
        if (!state.stored.rgb.data()) {
            throw image_error("the image was decoded before");
        }
        return turn_upright(std::move(state.stored), state.orientation, needed);
    }
    if (!needed) return turn_upright(state.jpeg->decode(shrink, nullptr), state.orientation);
    const int width = (state.width + shrink - 1) / shrink;
    const int height = (state.height + shrink - 1) / shrink;
    const Region stored = stored_region(*needed, width, height, state.orientation);
    return turn_upright(state.jpeg->decode(shrink, &stored), state.orientation, needed);
}

Extent OpenImage::extent(int shrink) const {
    Extent extent;
    const bool jpeg = state_->jpeg.has_value();
    fleetnet_extent_of(state_->width, state_->height, jpeg ? shrink : 1,
                       jpeg ? state_->orientation : 1, extent.box);
    return extent;
}

}  // namespace fleetnet
