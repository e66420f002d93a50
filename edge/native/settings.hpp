// What a spec says, by name: numbers, words, and specs within it. Whoever reads one says what it expects of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "model.hpp"

namespace sepiola {

class Settings {
public:
    using Value = std::variant<bool, long, double, std::string, std::vector<long>, std::shared_ptr<Settings>>;

    void set(const std::string& key, Value value) { values_[key] = std::move(value); }
    bool has(const std::string& key) const { return values_.count(key) > 0; }

    // Each throws std::invalid_argument for what is not there, of another type, or out of bounds.
    int whole(const std::string& key, long least = -(1L << 31), long most = (1L << 31) - 1) const;
    float number(const std::string& key) const;
    bool flag(const std::string& key) const;
    std::string word(const std::string& key) const;
    std::vector<int> wholes(const std::string& key) const;
    const Settings& within(const std::string& key) const;

    template <class T>
    T one_of(const std::string& key, const std::map<std::string, T>& known) const {
        auto found = known.find(word(key));
        if (found == known.end()) throw std::invalid_argument("the spec's '" + key + "' is '" + word(key) + "'");
        return found->second;
    }

private:
    template <class T>
    const T& get(const std::string& key) const;

    std::map<std::string, Value> values_;
};

Activation activation(const Settings& settings, const std::string& key = "activation");
// A stack over vectors of this width, with this many learned positions (0: none).
StackSpec stack_spec(const Settings& settings, int width, int length);
Spec model_spec(const Settings& settings);

}  // namespace sepiola
