// Checking a manifest's values, in the order and with the words of the Python package.
#pragma once

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bundle/json.hpp"

namespace fleetnet {

/// The first thing that is wrong with a manifest, in words.
struct Wrong : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// A value of a manifest and the names that lead to it. What is not as asked for throws Wrong.
///
/// As in Python, whole numbers may be written `2.0`, and numbers as text.
class Value {
   public:
    Value(const Json& json, std::string place) : json_(&json), place_(std::move(place)) {}

    const Json& json() const { return *json_; }
    const std::string& place() const { return place_; }
    Value item(const std::string& name, const Json& json) const;

    std::string text() const;
    /// Text that is not empty.
    std::string name() const;
    std::string one_of(const std::vector<std::string>& known) const;
    /// Digits of a whole number of any size, behind a minus if there is one.
    std::string whole() const;
    /// Digits of a whole number of at least 1.
    std::string amount() const;
    double real() const;
    /// A number from `least` to `most`; above `least` if that itself is not `allowed`.
    double share(double least, double most, bool allowed = true) const;
    void each(const std::function<void(const Value&)>& visit) const;
    /// An object, whatever its names are.
    const Value& settings() const;

    /// Throw Wrong: `problem` at this place, and what stands there unless it is an object, or text
    /// that the problem quotes.
    [[noreturn]] void refuse(const std::string& problem) const;
    /// Throw Wrong, because a list has to have something in it.
    [[noreturn]] void refuse_empty() const;

   private:
    const Json* json_;
    std::string place_;
};

/// The fields of an object, which are asked for one after the other.
class Fields {
   public:
    /// `newer`: fields that are not asked for are passed over instead of refused.
    Fields(Value value, bool newer);

    Value required(const std::string& name);
    std::optional<Value> optional(const std::string& name);
    /// A field that may be absent, or null.
    std::optional<Value> nullable(const std::string& name);
    /// Refuse a field that was not asked for.
    void end() const;

    bool newer() const { return newer_; }

   private:
    Value value_;
    bool newer_;
    std::vector<std::string> asked_;
};

}  // namespace fleetnet
