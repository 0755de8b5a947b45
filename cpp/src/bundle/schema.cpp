#include "bundle/schema.hpp"

#include <algorithm>
#include <cmath>
#include <locale>
#include <sstream>

#include "words.hpp"

namespace fleetnet {
namespace {

constexpr std::size_t kLongest = 60;  ///< characters of a value that are shown

std::string shortened(const std::string& text) {
    std::size_t characters = 0;
    for (std::size_t place = 0; place < text.size(); ++place) {
        const bool begins = (static_cast<unsigned char>(text[place]) & 0xC0) != 0x80;
        if (begins && characters++ == kLongest) return text.substr(0, place) + "…";
    }
    return text;
}

std::string stripped(const std::string& text) {
    const std::size_t first = text.find_first_not_of(" \t\r\n");
    if (first == std::string::npos) return "";
    return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

/// Digits without zeros before them; nothing if `text` is no whole number.
std::optional<std::string> digits_of(const std::string& text) {
    std::string digits = stripped(text);
    const bool negative = !digits.empty() && digits[0] == '-';
    if (negative || (!digits.empty() && digits[0] == '+')) digits.erase(0, 1);
    const std::size_t point = digits.find('.');
    if (point != std::string::npos) {
        if (digits.find_first_not_of('0', point + 1) != std::string::npos) return std::nullopt;
        digits.erase(point);
    }
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
    return negative && digits != "0" ? "-" + digits : digits;
}

std::optional<std::string> digits_of(const Json& json) {
    switch (json.kind) {
        case Json::Kind::whole:
            return json.text;
        case Json::Kind::boolean:
            return json.truth ? "1" : "0";
        case Json::Kind::text:
            return digits_of(json.text);
        case Json::Kind::real:
            if (std::floor(json.number) == json.number && std::abs(json.number) < 9e15) {
                return std::to_string(static_cast<long long>(json.number));
            }
            return std::nullopt;
        default:
            return std::nullopt;
    }
}

std::optional<double> number_of(const Json& json) {
    switch (json.kind) {
        case Json::Kind::whole:
        case Json::Kind::real:
            return json.number;
        case Json::Kind::boolean:
            return json.truth ? 1 : 0;
        case Json::Kind::text: {
            std::istringstream stream(stripped(json.text));
            stream.imbue(std::locale::classic());
            double number = 0;
            if (stream >> number && stream.peek() == std::istringstream::traits_type::eof()) {
                return number;
            }
            return std::nullopt;
        }
        default:
            return std::nullopt;
    }
}

std::string at(const std::string& place) { return place.empty() ? "" : place + ": "; }

}  // namespace

Value Value::item(const std::string& name, const Json& json) const {
    return {json, place_.empty() ? name : place_ + "." + name};
}

void Value::refuse(const std::string& problem) const {
    const std::string value = json_->is_object() ? "" : repr(*json_);
    const bool said = json_->is_text() && problem.find(value) != std::string::npos;
    const std::string instead = json_->is_object() || said ? "" : ", not " + shortened(value);
    throw Wrong(at(place_) + problem + instead);
}

void Value::refuse_empty() const {
    throw Wrong(at(place_) + "its length must be at least 1, not 0");
}

std::string Value::text() const {
    if (!json_->is_text()) refuse("it must be text");
    return json_->text;
}

std::string Value::name() const {
    if (text().empty()) throw Wrong(at(place_) + "it must not be empty");
    return json_->text;
}

std::string Value::one_of(const std::vector<std::string>& known) const {
    const bool text = json_->is_text();
    if (text && std::find(known.begin(), known.end(), json_->text) != known.end()) {
        return json_->text;
    }
    std::string listed;
    for (std::size_t i = 0; i < known.size(); ++i) {
        listed += i == 0 ? "" : i + 1 == known.size() ? " or " : ", ";
        listed += "'" + known[i] + "'";
    }
    try {
        refuse("it must be " + listed);
    } catch (const Wrong& wrong) {
        throw Wrong(wrong.what() + (text ? nearest(json_->text, known) : ""));
    }
}

std::string Value::whole() const {
    const auto digits = digits_of(*json_);
    if (!digits) refuse("it must be a whole number");
    return *digits;
}

std::string Value::amount() const {
    std::string digits = whole();
    if (digits == "0" || digits[0] == '-') refuse("it must be at least 1");
    return digits;
}

double Value::real() const {
    const auto number = number_of(*json_);
    if (!number) refuse("it must be a number");
    return *number;
}

double Value::share(double least, double most, bool allowed) const {
    const double number = real();
    if (allowed ? number < least : number <= least) {
        refuse((allowed ? "it must be at least " : "it must be above ") + short_number(least));
    }
    if (number > most) refuse("it must be at most " + short_number(most));
    return number;
}

void Value::each(const std::function<void(const Value&)>& visit) const {
    if (!json_->is_list()) refuse("it must be a list");
    for (std::size_t i = 0; i < json_->items.size(); ++i) {
        visit(item(std::to_string(i), json_->items[i]));
    }
}

const Value& Value::settings() const {
    if (!json_->is_object()) refuse("it must be settings of its own, each with a name");
    return *this;
}

Fields::Fields(Value value, bool newer) : value_(std::move(value)), newer_(newer) {
    value_.settings();
}

Value Fields::required(const std::string& name) {
    auto found = optional(name);
    if (!found) {
        throw Wrong((value_.place().empty() ? name : value_.place() + "." + name) +
                    ": it is missing");
    }
    return *found;
}

std::optional<Value> Fields::optional(const std::string& name) {
    asked_.push_back(name);
    const Json* found = value_.json().find(name);
    if (!found) return std::nullopt;
    return value_.item(name, *found);
}

std::optional<Value> Fields::nullable(const std::string& name) {
    auto found = optional(name);
    return found && found->json().is_null() ? std::nullopt : found;
}

void Fields::end() const {
    if (newer_) return;
    for (const std::string& name : value_.json().names) {
        if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) {
            throw Wrong((value_.place().empty() ? name : value_.place() + "." + name) +
                        ": nothing of this name is known");
        }
    }
}

}  // namespace fleetnet
