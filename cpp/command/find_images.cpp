#include "find_images.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "error.hpp"
#include "globs.hpp"
#include "text.hpp"

namespace fleetnet::command {

namespace {

/// Endings of all formats that Fleetnet reads, whether or not this build does: a picture that it
/// cannot decode gets a row that says so.
constexpr const char* endings[] = {
    ".jpg",   ".jpeg", ".jpe",  ".jfif",  ".mpo",   ".png", ".apng", ".webp", ".avif",
    ".avifs", ".heic", ".heif", ".heics", ".heifs", ".hif", ".tif",  ".tiff", ".gif",
    ".bmp",   ".dib",  ".ppm",  ".pgm",   ".pbm",   ".pnm", ".jp2",  ".j2k",  ".jpx",
    ".jpf",   ".jpc",  ".j2c",  ".ico",   ".qoi",   ".tga",
};
/// What messages say of them.
constexpr const char* usual = ".jpg, .png, .webp, .tif, .bmp, .gif and others, see docs/images.md";

/// Sort as Python does, by code points: bytes that are no UTF-8 come before some characters.
template <typename Item, typename Name>
void sort_by_text(std::vector<Item>& items, Name name) {
    std::vector<std::pair<Text, std::size_t>> order;
    for (std::size_t place = 0; place < items.size(); ++place) {
        order.emplace_back(text_of(name(items[place])), place);
    }
    std::sort(order.begin(), order.end());
    std::vector<Item> sorted;
    sorted.reserve(items.size());
    for (const auto& [text, place] : order) sorted.push_back(std::move(items[place]));
    items = std::move(sorted);
}

bool contains(const std::vector<Identity>& identities, const Identity& wanted) {
    return std::find(identities.begin(), identities.end(), wanted) != identities.end();
}

std::vector<Found> matches_of_plain_glob(const std::string& pattern) {
    std::vector<std::string> matches = glob(pattern);
    sort_by_text(matches, [](const std::string& match) { return match; });
    std::vector<Found> found;
    for (const std::string& match : matches) {
        if (is_file(match)) found.push_back({normal(match), {}, true});
    }
    return found;
}

/// Return what matches a glob with `**`; a glob of the usual kind would follow links in circles.
std::vector<Found> matches_at_any_depth(const std::vector<std::string>& parts, LeftOut& left_out) {
    const auto plain = std::find_if(parts.begin(), parts.end(), has_magic);
    const std::string base = path_of({parts.begin(), plain});
    const std::vector<std::string> patterns(plain, parts.end());
    std::vector<Found> found;
    if (!is_folder(base)) return found;
    Walk walk(base, left_out);
    while (std::optional<Found> one = walk.next()) {
        if (!one->is_file || parts_match(one->names, patterns)) found.push_back(std::move(*one));
    }
    sort_by_text(found, [](const Found& one) { return one.path; });
    return found;
}

}  // namespace

bool is_image_name(const std::string& name) {
    const std::string ending = bytes_of(lower(text_of(suffix_of(name))));
    return std::any_of(std::begin(endings), std::end(endings),
                       [&](const char* known) { return ending == known; });
}

Walk::Walk(const std::string& folder, LeftOut& left_out)
    : left_out_(left_out), above_(above(folder)), entered_(Found{normal(folder), {}, false}) {}

bool Walk::enter(const Found& folder) {
    const std::optional<Identity> identity = identity_of(folder.path);
    if (!identity) return false;
    const bool link = is_link(folder.path);
    if (contains(above_, *identity) || (link && contains(linked_, *identity))) {
        left_out_.add_link();
        return true;
    }
    std::optional<std::vector<std::string>> names = names_in(folder.path);
    if (!names) return false;
    sort_by_text(*names, [](const std::string& name) { return name; });
    std::reverse(names->begin(), names->end());
    levels_.push_back({folder, std::move(*names)});
    above_.push_back(*identity);
    if (link) linked_.push_back(*identity);
    return true;
}

std::optional<Found> Walk::next() {
    while (entered_ || !levels_.empty()) {
        if (entered_) {
            const Found folder = std::move(*entered_);
            entered_.reset();
            if (!enter(folder)) return folder;
            continue;
        }
        Level& level = levels_.back();
        if (level.names.empty()) {
            levels_.pop_back();
            above_.pop_back();
            continue;
        }
        const std::string name = std::move(level.names.back());
        level.names.pop_back();
        if (left_out_.passes_over(name)) continue;
        const std::string& folder = level.folder.path;
        Found found{folder == "." ? name : join(folder, name), level.folder.names, true};
        found.names.push_back(name);
        if (is_folder(found.path)) {
            found.is_file = false;
            entered_ = std::move(found);
        } else if (!is_file(found.path) && exists(found.path)) {
            left_out_.add_special();
        } else {
            // A broken link, or one to itself, counts as a file: reading it gives the reason.
            return found;
        }
    }
    return std::nullopt;
}

/// The images that one pattern stands for; there has to be one.
class ImageFinder::Source {
   public:
    Source(std::function<std::optional<Found>()> next, std::string otherwise)
        : next_(std::move(next)), otherwise_(std::move(otherwise)) {}

    std::optional<std::string> next(LeftOut& left_out) {
        while (std::optional<Found> found = next_()) {
            if (found->is_file && !is_image_name(split(found->path).second)) {
                left_out.add_file(split(found->path).second);
                continue;
            }
            any_ = true;
            return std::move(found->path);
        }
        if (any_) return std::nullopt;
        const std::string line = left_out.line();
        throw Error(Code::data, otherwise_ + " (looked for " + usual + ")" +
                                    (line.empty() ? "" : "; left out: " + line));
    }

   private:
    std::function<std::optional<Found>()> next_;
    std::string otherwise_;
    bool any_ = false;
};

ImageFinder::ImageFinder(std::vector<std::string> patterns, LeftOut& left_out)
    : patterns_(std::move(patterns)), left_out_(left_out) {}

ImageFinder::~ImageFinder() = default;

void ImageFinder::open(const std::string& pattern) {
    if (is_folder(pattern)) {
        auto walk = std::make_shared<Walk>(pattern, left_out_);
        source_ = std::make_unique<Source>([walk] { return walk->next(); },
                                           "no images in the folder " + pattern);
        return;
    }
    const std::vector<std::string> parts = parts_of(pattern);
    const bool any_depth = std::find(parts.begin(), parts.end(), "**") != parts.end();
    auto matches = std::make_shared<std::vector<Found>>(
        any_depth ? matches_at_any_depth(parts, left_out_) : matches_of_plain_glob(pattern));
    source_ = std::make_unique<Source>(
        [matches, place = std::size_t{0}]() mutable -> std::optional<Found> {
            if (place == matches->size()) return std::nullopt;
            return std::move((*matches)[place++]);
        },
        "no images match " + pattern);
}

std::optional<std::string> ImageFinder::next() {
    while (true) {
        if (source_) {
            if (std::optional<std::string> path = source_->next(left_out_)) return path;
            source_.reset();
        }
        if (place_ == patterns_.size()) return std::nullopt;
        const std::string& pattern = patterns_[place_++];
        const bool itself = pattern == "-" || is_file(pattern);
        if (itself || (!is_folder(pattern) && !has_magic(pattern))) return pattern;
        open(pattern);
    }
}

}  // namespace fleetnet::command
