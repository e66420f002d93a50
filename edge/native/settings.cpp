#include "settings.hpp"

#include <stdexcept>

namespace sepiola {

template <class T>
const T& Settings::get(const std::string& key) const {
    auto found = values_.find(key);
    if (found == values_.end()) throw std::invalid_argument("the spec has no '" + key + "'");
    const T* value = std::get_if<T>(&found->second);
    if (!value) throw std::invalid_argument("the spec's '" + key + "' is of another type");
    return *value;
}

int Settings::whole(const std::string& key, long least, long most) const {
    long value = get<long>(key);
    if (value < least || value > most)
        throw std::invalid_argument("the spec's '" + key + "' is " + std::to_string(value) + "; expected " +
                                    std::to_string(least) + " to " + std::to_string(most));
    return int(value);
}

float Settings::number(const std::string& key) const {
    auto found = values_.find(key);
    if (found != values_.end() && std::holds_alternative<long>(found->second)) return float(std::get<long>(found->second));
    return float(get<double>(key));
}

bool Settings::flag(const std::string& key) const { return get<bool>(key); }

std::string Settings::word(const std::string& key) const { return get<std::string>(key); }

std::vector<int> Settings::wholes(const std::string& key) const {
    std::vector<int> result;
    for (long value : get<std::vector<long>>(key)) {
        if (value < 0 || value > LARGEST)
            throw std::invalid_argument("the spec's '" + key + "' holds " + std::to_string(value));
        result.push_back(int(value));
    }
    return result;
}

const Settings& Settings::within(const std::string& key) const { return *get<std::shared_ptr<Settings>>(key); }

Activation activation(const Settings& settings, const std::string& key) {
    static const std::map<std::string, Activation> activations = {
        {"relu", Activation::relu}, {"gelu", Activation::gelu}, {"gelu_tanh", Activation::gelu_tanh},
        {"quick_gelu", Activation::quick_gelu}, {"silu", Activation::silu},
        {"squared_relu", Activation::squared_relu}};
    return settings.one_of(key, activations);
}

StackSpec stack_spec(const Settings& d, int width, int length) {
    static const std::map<std::string, Place> places = {
        {"pre", Place::pre}, {"post", Place::post}, {"parallel", Place::parallel}, {"sandwich", Place::sandwich}};
    StackSpec s;
    s.width = width, s.length = length;
    s.layers = d.whole("layers"), s.heads = d.whole("heads"), s.kv_heads = d.whole("kv_heads");
    s.head_width = d.whole("head_width"), s.inner = d.whole("inner");
    if (d.has("experts")) s.experts = d.whole("experts"), s.chosen = d.whole("chosen");
    if (d.has("renormalise")) s.renormalise = d.flag("renormalise");
    if (d.has("shared")) s.shared = d.whole("shared", 1, LARGEST);
    if (d.has("dense")) s.dense = d.wholes("dense"), s.dense_inner = d.whole("dense_inner", 1, LARGEST);
    if (d.has("joined")) s.joined = d.flag("joined");
    s.scale = d.number("scale"), s.eps = d.number("eps");
    s.centred = d.flag("centred"), s.causal = d.flag("causal");
    s.cross = d.flag("cross"), s.gated = d.flag("gated");
    s.place = d.one_of("place", places);
    s.closes = s.place != Place::post;
    s.activation = activation(d);
    s.windows = d.wholes("windows");
    s.amplitude = d.number("amplitude"), s.local_amplitude = d.number("local_amplitude");
    return s;
}

Spec model_spec(const Settings& d) {
    Spec spec;
    spec.width = d.whole("width"), spec.vocabulary = d.whole("vocabulary");
    int length = d.whole("length", 0, LARGEST);
    spec.embedding_scale = d.number("embedding_scale"), spec.head_scale = d.number("head_scale");
    spec.decoder = stack_spec(d.within("decoder"), spec.width, length);
    if (d.has("encoder")) spec.encoder = stack_spec(d.within("encoder"), spec.width, length);
    if (d.has("vision")) spec.vision = std::make_shared<Settings>(d.within("vision"));
    if (d.has("bridge")) spec.bridge = std::make_shared<Settings>(d.within("bridge"));
    return spec;
}

}  // namespace sepiola
