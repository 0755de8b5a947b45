#include "bundle/json.hpp"

#include <algorithm>
#include <cstdlib>
#include <locale>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>
#include <unordered_set>

#include "error.hpp"
#include "words.hpp"

namespace fleetnet {
namespace {

using Events = nlohmann::json_sax<nlohmann::json>;

/// Python's reader gives up near a thousand levels; nothing here may recurse deeper.
constexpr std::size_t kDeepest = 900;
/// Each value takes about a hundred bytes here, and two in the file: no manifest comes near.
constexpr std::size_t kMostValues = 4'000'000;

/// Read a number with a point or an exponent again if the parser, which writes and reads the point
/// of the program's locale, has changed it; that point may even have several bytes.
double number_of(std::string& written, double found) {
    const std::size_t point = written.find_first_not_of("+-0123456789eE");
    if (point == std::string::npos || written[point] == '.') return found;
    written[point] = '.';
    std::istringstream stream(written);
    stream.imbue(std::locale::classic());
    double number = 0;
    return stream >> number ? number : found;
}

/// Builds the tree from the parser's events.
class Builder : public Events {
   public:
    Json root;
    std::string twice;  ///< the name that an object has twice

    bool null() override { return add(Json()); }
    bool boolean(bool value) override {
        Json made;
        made.kind = Json::Kind::boolean;
        made.truth = value;
        return add(std::move(made));
    }
    bool number_integer(number_integer_t value) override {
        return add(whole(std::to_string(value), static_cast<double>(value)));
    }
    bool number_unsigned(number_unsigned_t value) override {
        return add(whole(std::to_string(value), static_cast<double>(value)));
    }
    bool number_float(number_float_t value, const string_t& written) override {
        std::string digits = written;
        const double number = number_of(digits, value);
        if (digits.find_first_of(".eE") == std::string::npos) return add(whole(digits, number));
        Json made;
        made.kind = Json::Kind::real;
        made.number = number;
        return add(std::move(made));
    }
    bool string(string_t& value) override { return add(Json::of_text(std::move(value))); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return begin(Json::object()); }
    bool start_array(std::size_t) override { return begin(Json::of_list({})); }
    bool key(string_t& name) override {
        open_.back().names.push_back(std::move(name));
        return true;
    }
    bool end_array() override { return end(); }
    bool end_object() override {
        std::unordered_set<std::string_view> seen;
        for (const std::string& name : open_.back().names) {
            if (!seen.insert(name).second) {
                twice = name;
                twice_found = true;
                return false;
            }
        }
        return end();
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
        return false;
    }

    bool twice_found = false;
    bool too_many = false;

   private:
    std::vector<Json> open_;
    std::size_t values_ = 0;

    static Json whole(std::string digits, double value) {
        Json made = Json::of_whole(std::move(digits));
        made.number = value;
        return made;
    }
    bool add(Json value) {
        too_many = ++values_ > kMostValues;
        if (too_many) return false;
        (open_.empty() ? root : open_.back().items.emplace_back()) = std::move(value);
        return true;
    }
    bool begin(Json value) {
        if (open_.size() == kDeepest) return false;
        open_.push_back(std::move(value));
        return true;
    }
    bool end() {
        Json done = std::move(open_.back());
        open_.pop_back();
        return add(std::move(done));
    }
};

/// The first characters of UTF-8 text.
std::string beginning(const std::string& text, std::size_t characters) {
    std::size_t place = 0;
    while (place < text.size() && characters > 0) {
        ++place;
        while (place < text.size() && (static_cast<unsigned char>(text[place]) & 0xC0) == 0x80) {
            ++place;
        }
        --characters;
    }
    return text.substr(0, place);
}

}  // namespace

const Json* Json::find(const std::string& name) const {
    const auto found = std::find(names.begin(), names.end(), name);
    return found == names.end() ? nullptr : &items[static_cast<std::size_t>(found - names.begin())];
}

void Json::set(const std::string& name, Json value) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
        names.push_back(name);
        items.push_back(std::move(value));
    } else {
        items[static_cast<std::size_t>(found - names.begin())] = std::move(value);
    }
}

void Json::remove(const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return;
    items.erase(items.begin() + (found - names.begin()));
    names.erase(found);
}

Json Json::of_text(std::string text) {
    Json made;
    made.kind = Kind::text;
    made.text = std::move(text);
    return made;
}

Json Json::of_whole(std::string digits) {
    Json made;
    made.kind = Kind::whole;
    made.number = std::strtod(digits.c_str(), nullptr);
    made.text = std::move(digits);
    return made;
}

Json Json::of_list(std::vector<Json> items) {
    Json made;
    made.kind = Kind::list;
    made.items = std::move(items);
    return made;
}

Json Json::object() {
    Json made;
    made.kind = Kind::object;
    return made;
}

Json Json::parse(const std::string& text, const std::string& where) {
    Builder builder;
    if (nlohmann::json::sax_parse(text, &builder)) return std::move(builder.root);
    if (builder.twice_found) {
        throw Error(Code::bundle, where + ": " + repr(beginning(builder.twice, 80)) +
                                      " is there twice: the bundle is damaged");
    }
    if (builder.too_many) {
        throw Error(Code::bundle, where + " has more than " + std::to_string(kMostValues) +
                                      " values: it is no manifest that 'fleetnet export' wrote");
    }
    throw Error(Code::bundle, where + " is not valid JSON: the bundle is damaged");
}

std::string repr(const Json& value) {
    switch (value.kind) {
        case Json::Kind::null:
            return "None";
        case Json::Kind::boolean:
            return value.truth ? "True" : "False";
        case Json::Kind::whole:
            return value.text;
        case Json::Kind::real:
            return repr(value.number);
        case Json::Kind::text:
            return repr(value.text);
        case Json::Kind::list:
        case Json::Kind::object:
            break;
    }
    std::vector<std::string> shown;
    for (std::size_t i = 0; i < value.items.size(); ++i) {
        const std::string item = repr(value.items[i]);
        shown.push_back(value.is_object() ? repr(value.names[i]) + ": " + item : item);
    }
    const bool list = value.is_list();
    return (list ? "[" : "{") + joined(shown, ", ") + (list ? "]" : "}");
}

}  // namespace fleetnet
