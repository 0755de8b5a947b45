#include "bundle/preprocess_field.hpp"

#include <algorithm>

#include "words.hpp"

namespace fleetnet {
namespace {

constexpr int kLargest = 4096;  ///< side of an input, in pixels

const std::vector<std::string> kNeeded = {"resize", "crop", "interpolation", "mean", "std"};
const std::vector<std::string> kInterpolations = {"bilinear", "bicubic", "cv2-linear"};

[[noreturn]] void refuse(const std::string& problem) { throw Wrong("preprocess: " + problem); }

int whole(const Json& fields, const std::string& name, int least, int most) {
    const Json& value = *fields.find(name);
    const bool within =
        value.kind == Json::Kind::whole && value.number >= least && value.number <= most;
    if (!within) {
        refuse("preprocess." + name + " is " + repr(value) + "; it must be a whole number from " +
               std::to_string(least) + " to " + std::to_string(most));
    }
    return static_cast<int>(value.number);
}

std::array<double, 3> three_numbers(const Json& fields, const std::string& name) {
    const Json& value = *fields.find(name);
    std::array<double, 3> numbers{};
    try {
        std::size_t found = 0;
        Value(value, "").each([&](const Value& entry) {
            const double number = entry.real();
            if (found < numbers.size()) numbers[found] = number;
            ++found;
        });
        if (found == numbers.size()) return numbers;
    } catch (const Wrong&) {
        // Said below, in the words for this field.
    }
    refuse("preprocess." + name + " is " + repr(value) + "; it must be three numbers");
}

fleetnet_filter filter_of(const std::string& word) {
    if (word == "bilinear") return FLEETNET_BILINEAR;
    return word == "bicubic" ? FLEETNET_BICUBIC : FLEETNET_CV2_LINEAR;
}

void check_names(const Json& fields) {
    std::vector<std::string> known = kNeeded;
    known.emplace_back("sample_bits");
    for (const std::string& name : fields.names) {
        if (std::find(known.begin(), known.end(), name) == known.end()) {
            refuse("unknown preprocess field '" + name + "'" + nearest(name, known));
        }
    }
    std::vector<std::string> missing;
    for (const std::string& name : kNeeded) {
        if (!fields.find(name)) missing.push_back(name);
    }
    if (!missing.empty()) refuse("preprocess lacks " + joined(missing, ", "));
}

}  // namespace

Preprocess read_preprocess(const Value& value) {
    const Json& fields = value.json();
    if (!fields.is_object()) value.refuse("preprocess must be an object");
    check_names(fields);
    Preprocess made;
    made.resize = whole(fields, "resize", 1, kLargest);
    made.crop = whole(fields, "crop", 1, kLargest);
    if (made.crop > made.resize) {
        refuse("preprocess.crop (" + std::to_string(made.crop) +
               ") is larger than preprocess.resize (" + std::to_string(made.resize) + ")");
    }
    const Json& word = *fields.find("interpolation");
    const auto known = std::find(kInterpolations.begin(), kInterpolations.end(), word.text);
    if (!word.is_text() || known == kInterpolations.end()) {
        refuse("preprocess.interpolation is " + repr(word) + "; it must be one of " +
               joined(kInterpolations, ", "));
    }
    made.interpolation = filter_of(word.text);
    made.mean = three_numbers(fields, "mean");
    made.std = three_numbers(fields, "std");
    if (*std::min_element(made.std.begin(), made.std.end()) <= 0) {
        refuse("preprocess.std is (" + repr(made.std[0]) + ", " + repr(made.std[1]) + ", " +
               repr(made.std[2]) + "); its entries must be above 0");
    }
    const Json* bits = fields.find("sample_bits");
    if (bits && !bits->is_null()) made.sample_bits = whole(fields, "sample_bits", 8, 16);
    return made;
}

}  // namespace fleetnet
