#include "images/jpeg_header.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "images/limits.hpp"
#include "images/read_bytes.hpp"

namespace fleetnet {
namespace {

Error bad_header() { return damaged_header("JPEG"); }

/// Reads a header from its first segment to its first scan.
class HeaderReader {
   public:
    explicit HeaderReader(Bytes file) : file_(file) {}

    JpegHeader read() {
        place_ = 3;  // the first bytes were looked at: the start, and the first of a marker
        int first = 0xFF;
        while (first >= 0) {
            if (first != 0xFF) {
                first = next();
                continue;
            }
            const int second = next();
            if (second < 0) break;
            if (second == 0xFF) continue;  // padding
            if (second == 0) {             // escaped data
                first = next();
                continue;
            }
            if (second < 0xC0) throw bad_header();
            if (take(second)) break;
            first = next();
        }
        if (header_.layers == 0 || header_.width == 0 || header_.height == 0) throw bad_header();
        if (!scanned_) throw damaged("cannot load this image");
        return std::move(header_);
    }

   private:
    int next() { return place_ < file_.size ? file_[place_++] : -1; }

    /// Take one segment in; return whether it was the last of the header.
    bool take(int marker) {
        const bool frame = (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 &&
                            marker != 0xCC) ||
                           marker == 0xDE;
        const bool application = marker >= 0xE0 && marker <= 0xEF;
        const bool passed = marker == 0xC4 || marker == 0xCC || marker == 0xDA || marker == 0xDC ||
                            marker == 0xDD || marker == 0xDF || marker == 0xFE;
        if (frame) {
            take_frame(segment());
        } else if (application) {
            take_application(marker, segment());
        } else if (marker == 0xDB) {
            check_tables(segment());
        } else if (passed) {
            segment();
        }
        scanned_ = marker == 0xDA;
        return scanned_;
    }

    Bytes segment() {
        if (file_.size - place_ < 2) throw bad_header();
        const std::size_t length = big16(file_.data + place_);
        place_ += 2;
        if (length <= 2) return Bytes(file_.data + place_, 0);
        const Bytes content = slice(file_, place_, length - 2);
        if (content.size < length - 2) throw damaged("Truncated File Read");
        place_ += content.size;
        return content;
    }

    void take_frame(Bytes content) {
        if (content.size < 6 || content[0] != 8) throw bad_header();
        header_.height = static_cast<int>(big16(content.data + 1));
        header_.width = static_cast<int>(big16(content.data + 3));
        header_.layers = content[5];
        if (header_.layers != 1 && header_.layers != 3 && header_.layers != 4) throw bad_header();
        if (!profiles_.empty()) {
            const Bytes least = *std::min_element(
                profiles_.begin(), profiles_.end(), [](const Bytes& one, const Bytes& other) {
                    return std::lexicographical_compare(one.begin(), one.end(), other.begin(),
                                                        other.end());
                });
            if (least.size < 14) throw bad_header();
            profiles_.clear();
        }
        if (content.size % 3 != 0) throw bad_header();  // a component that is cut off
    }

    static void check_tables(Bytes content) {
        while (content.size > 0) {
            const std::size_t table = 1 + (content[0] < 16 ? 64 : 128);
            if (content.size < table) throw bad_header();
            content = slice(content, table);
        }
    }

    void take_application(int marker, Bytes content) {
        if (marker == 0xE0 && starts_with(content, "JFIF")) {
            if (content.size < 7) throw bad_header();
        } else if (marker == 0xE1 && starts_with(content, "Exif\0\0")) {
            const Bytes more = header_.exif ? slice(content, 6) : content;
            if (!header_.exif) header_.exif.emplace();
            header_.exif->insert(header_.exif->end(), more.begin(), more.end());
        } else if (marker == 0xE1 && starts_with(content, "http://ns.adobe.com/xap/1.0/\0")) {
            const Bytes text = slice(content, sizeof "http://ns.adobe.com/xap/1.0/");
            header_.xmp.emplace(text.begin(), text.end());
        } else if (marker == 0xE2 && starts_with(content, "ICC_PROFILE\0")) {
            profiles_.push_back(content);
        } else if (marker == 0xED && starts_with(content, "Photoshop 3.0\0")) {
            check_photoshop(content);
        } else if (marker == 0xEE && starts_with(content, "Adobe")) {
            if (content.size < 7) throw bad_header();
        }
    }

    /// A block of Photoshop's that ends in the middle of a name is an error, any other is none.
    static void check_photoshop(Bytes content) {
        std::size_t place = 14;
        while (starts_with(slice(content, place), "8BIM")) {
            place += 4;
            if (slice(content, place).size < 2) return;
            const std::uint32_t code = big16(content.data + place);
            place += 2;
            if (place >= content.size) throw bad_header();
            place += 1 + std::size_t{content[place]};
            place += place & 1;
            if (slice(content, place).size < 4) return;
            const std::size_t size = big32(content.data + place);
            place += 4;
            if (code == 0x03ED && slice(content, place, size).size < 14) return;
            place += size;
            place += place & 1;
        }
    }

    Bytes file_;
    std::size_t place_ = 0;
    bool scanned_ = false;
    JpegHeader header_;
    std::vector<Bytes> profiles_;
};

struct Marker {
    int code = 0;
    std::size_t place = 0;  ///< of its 0xFF
};

constexpr int start_of_scan = 0xDA;

/// Steps over the markers of a file as far as they make sense, the restarts in a scan excepted.
class Markers {
   public:
    explicit Markers(Bytes file) : file_(file) {}

    bool next(Marker& marker) {
        for (std::size_t at = place_; at + 1 < file_.size; at++) {
            if (file_[at] != 0xFF) continue;
            const int code = file_[at + 1];
            if (code == 0 || code == 0xFF || (code >= 0xD0 && code <= 0xD7)) continue;
            marker = {code, at};
            place_ = at + 2;
            if (code != 0x01 && code != 0xD8 && code != 0xD9) {
                const Bytes length = slice(file_, place_, 2);
                place_ += length.size == 2 ? big16(length.data) : length.size ? length[0] : 0;
            }
            return true;
        }
        return false;
    }

   private:
    Bytes file_;
    std::size_t place_ = 2;
};

bool is_frame(int code) {
    return code >= 0xC0 && code <= 0xCF && code != 0xC4 && code != 0xC8 && code != 0xCC;
}

bool is_progressive(int code) {
    return code == 0xC2 || code == 0xC6 || code == 0xCA || code == 0xCE;
}

constexpr std::size_t coefficients = 64;
using Missing = std::array<int, coefficients>;  ///< bits of each coefficient; -1: all of them

/// Note what one scan holds; return false if its header is cut off or makes no sense.
bool take_scan(Bytes file, std::size_t place, bool progressive, std::map<int, Missing>& missing) {
    if (place + 4 >= file.size) return false;
    const std::size_t end = place + 5 + 2 * std::size_t{file[place + 4]};
    std::size_t first = 0, last = coefficients - 1;
    int bits = 0;
    if (progressive) {
        if (end + 2 >= file.size) return false;
        first = file[end];
        last = file[end + 1];
        bits = file[end + 2] & 15;
    }
    for (std::size_t at = place + 5; at < std::min(end, file.size); at += 2) {
        const auto component = missing.find(file[at]);
        for (std::size_t coefficient = first; coefficient <= last; coefficient++) {
            if (component == missing.end() || coefficient >= coefficients) return false;
            component->second[coefficient] = bits;
        }
    }
    return true;
}

}  // namespace

JpegHeader read_jpeg_header(Bytes file) { return HeaderReader(file).read(); }

bool lacks_jpeg_end(Bytes file) {
    static const std::uint8_t end[] = {0xFF, 0xD9};
    if (file.size >= 2 && std::equal(end, end + 2, file.end() - 2)) return false;
    Markers markers(file);
    Marker marker;
    while (markers.next(marker))
        if (marker.code == start_of_scan)
            return std::search(file.begin() + marker.place, file.end(), end, end + 2) == file.end();
    return false;
}

bool has_all_scans(Bytes file) {
    std::map<int, Missing> missing;
    bool progressive = false;
    Markers markers(file);
    Marker marker;
    while (markers.next(marker)) {
        if (is_frame(marker.code)) {
            progressive = is_progressive(marker.code);
            if (marker.place + 9 >= file.size) return false;
            const std::size_t count = file[marker.place + 9];
            const Bytes components = slice(file, marker.place + 10, 3 * count);
            for (std::size_t at = 0; at < components.size; at += 3)
                missing[components[at]].fill(-1);
        } else if (marker.code == start_of_scan) {
            if (!take_scan(file, marker.place, progressive, missing)) return false;
        }
    }
    if (missing.empty()) return false;
    return std::all_of(missing.begin(), missing.end(), [](const auto& component) {
        const Missing& left = component.second;
        return std::all_of(left.begin(), left.end(), [](int bits) { return bits == 0; });
    });
}

}  // namespace fleetnet
