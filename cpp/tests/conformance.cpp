// The conformance set: every picture's pixels, every input, every refusal, and what is rejected.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "error.hpp"
#include "preprocess.hpp"
#include "probabilities.hpp"
#include "sha256.hpp"

using namespace fleetnet;

namespace {

const std::string set_folder = FLEETNET_CONFORMANCE;

nlohmann::json description() {
    std::ifstream file(set_folder + "/conformance.json", std::ios::binary);
    nlohmann::json found = nlohmann::json::parse(file);
    REQUIRE(found.at("format_version") == 2);
    return found;
}

std::string digest(const void* data, std::size_t size) {
    Sha256 hash;
    hash.add(data, size);
    return hash.hex();
}

fleetnet_filter filter_of(const std::string& name) {
    if (name == "cv2-linear") return FLEETNET_CV2_LINEAR;
    return name == "bicubic" ? FLEETNET_BICUBIC : FLEETNET_BILINEAR;
}

/// Why a picture is refused, in the set's words.
std::string kind_of(const std::string& message) {
    static const std::vector<std::pair<std::string, std::string>> words = {
        {"the file is empty", "empty"},    {"not an image", "not-an-image"},
        {"is longer than 1:", "too-long"}, {"million pixels", "too-large"},
        {"is larger than", "too-large"},   {"no defined range", "unsupported"},
        {"truncated", "truncated"},        {"cut off", "truncated"},
    };
    for (const auto& [part, kind] : words)
        if (message.find(part) != std::string::npos) return kind;
    return "damaged";
}

/// Whether this build decodes a picture of the set.
bool is_decoded(const std::string& file) {
    const auto known = formats();
    const auto has = [&](const char* name) {
        return std::find(known.begin(), known.end(), name) != known.end();
    };
    const std::string ending = file.substr(file.rfind('.'));
    return ending == ".webp" ? has("WEBP") : ending == ".tif" ? has("TIFF") : true;
}

void check_decoded(const nlohmann::json& picture, Bytes data) {
    OpenImage image(data);
    const auto& expected = picture.at("decoded");
    CHECK(image.width() == expected.at("width").get<int>());
    CHECK(image.height() == expected.at("height").get<int>());
    const Pixels pixels = image.decode();
    CHECK(digest(pixels.rgb.data(), pixels.rgb.size()) == expected.at("sha256").get<std::string>());
}

void check_inputs(const nlohmann::json& picture, Bytes data) {
    for (const auto& input : picture.at("inputs")) {
        Preprocess preprocess;
        preprocess.interpolation = filter_of(input.at("interpolation"));
        preprocess.resize = input.at("resize");
        preprocess.crop = input.at("crop");
        if (input.contains("sample_bits"))
            preprocess.sample_bits = input.at("sample_bits").get<int>();
        std::vector<std::uint8_t> out(preprocess.input_bytes());
        preprocess.input_of(data, input.at("exact"), out.data());
        CAPTURE(input.dump());
        CHECK(digest(out.data(), out.size()) == input.at("sha256").get<std::string>());
    }
}

void check_refused(const nlohmann::json& picture) {
    std::string message = "it was decoded";
    try {
        const auto data = read_image_file(set_folder + "/" + picture.at("file").get<std::string>());
        Preprocess preprocess;
        preprocess.resize = 27;
        preprocess.crop = 24;
        std::vector<std::uint8_t> out(preprocess.input_bytes());
        preprocess.input_of(data, true, out.data());
    } catch (const Error& error) {
        CHECK(error.code() == Code::image);
        message = error.what();
    }
    const std::string kind = picture.at("error").at("kind");
    CAPTURE(message);
    CHECK((kind_of(message) == kind || (kind == "truncated" && kind_of(message) == "damaged")));
}

/// A number, or one of the words for what JSON has no number for.
float number_of(const nlohmann::json& value) {
    return value.is_string() ? std::stof(value.get<std::string>()) : value.get<float>();
}

std::vector<float> numbers_of(const nlohmann::json& values) {
    std::vector<float> numbers;
    for (const auto& value : values) numbers.push_back(number_of(value));
    return numbers;
}

/// The answers that a case of rejection judges: its own, or those of the pictures.
std::vector<std::vector<float>> judged(const nlohmann::json& set, const nlohmann::json& rejection) {
    std::vector<std::vector<float>> rows;
    if (rejection.contains("logits")) {
        for (const auto& row : rejection.at("logits")) rows.push_back(numbers_of(row));
        return rows;
    }
    for (const auto& picture : set.at("pictures"))
        if (picture.contains("logits")) rows.push_back(numbers_of(picture.at("logits")));
    return rows;
}

Certainty score_of(const std::string& name) {
    if (name == "energy") return Certainty::energy;
    return name == "max-logit" ? Certainty::max_logit : Certainty::probability;
}

/// Whether two scores are equal but for the last digits; infinities and NaN only if they are both.
bool is_near(double one, double other, double tolerance) {
    if (!std::isfinite(one) || !std::isfinite(other))
        return one == other || (std::isnan(one) && std::isnan(other));
    return std::abs(one - other) <= tolerance * std::abs(other);
}

}  // namespace

TEST_CASE("the conformance set's pictures give Python's pixels, inputs and refusals") {
    int checked = 0;
    const nlohmann::json set = description();
    for (const auto& picture : set.at("pictures")) {
        const std::string name = picture.at("name"), file = picture.at("file");
        if (!is_decoded(file)) continue;
        CAPTURE(name);
        checked++;
        if (picture.contains("error")) {
            check_refused(picture);
            continue;
        }
        const auto data = read_image_file(set_folder + "/" + file);
        check_decoded(picture, data);
        check_inputs(picture, data);
    }
    CHECK(checked > 60);
}

TEST_CASE("the conformance set's answers are rejected as in Python") {
    int checked = 0;
    const nlohmann::json set = description();
    const auto& rejection = set.at("rejection");
    const double tolerance = rejection.at("tolerance");
    for (const auto& one : rejection.at("cases")) {
        const std::string name = one.at("name");
        const Certainty score = score_of(one.at("score"));
        const auto rows = judged(set, one);
        const auto scores = numbers_of(one.at("scores"));
        REQUIRE(rows.size() == scores.size());
        for (std::size_t place = 0; place < rows.size(); place++) {
            CAPTURE(name);
            CAPTURE(place);
            checked++;
            const float found = certainty(rows[place], score, one.value("temperature", 1.0));
            CAPTURE(found);
            CHECK(is_near(found, scores[place], tolerance));
            CHECK(is_rejected(found, one.at("threshold")) == one.at("rejected")[place].get<bool>());
        }
    }
    CHECK(checked > 250);
}
