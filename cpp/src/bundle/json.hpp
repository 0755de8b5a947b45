// JSON as Python's reader gives it: each name once, whole numbers of any size, order kept.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fleetnet {

struct Json {
    enum class Kind { null, boolean, whole, real, text, list, object };

    Kind kind = Kind::null;
    bool truth = false;
    double number = 0;               ///< of `whole` and `real`
    std::string text;                ///< of `text`; of `whole` its digits
    std::vector<Json> items;         ///< of a list, or the values of an object
    std::vector<std::string> names;  ///< of the values of an object

    bool is_object() const { return kind == Kind::object; }
    bool is_list() const { return kind == Kind::list; }
    bool is_text() const { return kind == Kind::text; }
    bool is_null() const { return kind == Kind::null; }

    /// The value of this name in an object, or nullptr.
    const Json* find(const std::string& name) const;
    /// Give an object a value, in place of one of the same name.
    void set(const std::string& name, Json value);
    void remove(const std::string& name);

    static Json of_text(std::string text);
    static Json of_whole(std::string digits);
    static Json of_list(std::vector<Json> items);
    static Json object();

    /// Throws Error(Code::bundle) for what is no JSON or has a name twice; `where` is its file.
    static Json parse(const std::string& text, const std::string& where);
};

/// Return a value as Python's repr() writes it.
std::string repr(const Json& value);

}  // namespace fleetnet
