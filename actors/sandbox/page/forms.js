// The inputs of Card JSON 2.0, and what a form holds when it is submitted.
import { element, modelOf } from "./dom.js";

export const FORM_TAGS = new Set(["input", "select_static", "multi_select_static", "checker", "date_picker", "picker_time", "picker_datetime"]);
const DATES = { date_picker: "date", picker_time: "time", picker_datetime: "datetime-local" };

const localized = (node, language) => node?.i18n_content?.[language] ?? node?.content ?? "";

function labelled(model, language, control) {
  const label = localized(model.label, language);
  return element("label", { class: "field" }, label ? element("span", { class: "field-label" }, label, model.required ? " *" : "") : null, control);
}

function described(model, language) {
  const placeholder = localized(model.placeholder, language);
  const named = localized(model.label, language) ? {} : { "aria-label": placeholder || model.name || model.tag };
  return { ...named, required: model.required === true, disabled: model.disabled === true, model: { input: model } };
}

export function input(model, path, language) {
  const common = described(model, language);
  switch (model.tag) {
    case "input": {
      const held = { ...common, placeholder: localized(model.placeholder, language) || null, maxlength: String(model.max_length ?? 1000) };
      if (model.input_type === "multiline_text") return labelled(model, language, element("textarea", { ...held, rows: String(model.rows ?? 5) }, model.default_value ?? ""));
      return labelled(model, language, element("input", { ...held, type: model.input_type === "password" ? "password" : "text", value: model.default_value ?? "", autocomplete: "off" }));
    }
    case "select_static": {
      const first = model.initial_option ?? model.options?.[(model.initial_index ?? 0) - 1]?.value;
      const empty = element("option", { value: "" }, localized(model.placeholder, language) || "—");
      return labelled(model, language, element("select", common, empty, (model.options ?? []).map((option) => element("option", { value: option.value, selected: option.value === first }, localized(option.text, language)))));
    }
    case "multi_select_static": {
      const boxes = (model.options ?? []).map((option) => element("label", { class: "check" }, element("input", { type: "checkbox", value: option.value, checked: (model.selected_values ?? []).includes(option.value) }), element("span", {}, localized(option.text, language))));
      return element("fieldset", { class: "field", model: { input: model } }, element("legend", { class: "field-label" }, localized(model.label, language) || localized(model.placeholder, language) || model.name), boxes);
    }
    case "checker":
      return element("label", { class: "check" }, element("input", { type: "checkbox", checked: model.checked === true, disabled: model.disabled === true, model: { input: model } }), element("span", {}, localized(model.text, language)));
    default:
      return labelled(model, language, element("input", { ...common, type: DATES[model.tag], value: model.initial_date ?? model.initial_time ?? model.initial_datetime ?? "" }));
  }
}

const offset = () => {
  const minutes = -new Date().getTimezoneOffset();
  const two = (value) => String(Math.floor(Math.abs(value))).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(minutes / 60)}${two(minutes % 60)}`;
};

// Name → value, as the platform's clients send it.
export function formValue(form) {
  const value = {};
  for (const node of form.querySelectorAll("input, select, textarea, fieldset")) {
    const model = modelOf(node)?.input;
    if (!model?.name) continue;
    if (model.tag === "multi_select_static") value[model.name] = [...node.querySelectorAll("input:checked")].map((box) => box.value);
    else if (model.tag === "checker") value[model.name] = node.checked;
    else if (model.tag in DATES) value[model.name] = node.value ? `${node.value.replace("T", " ")} ${offset()}` : "";
    else value[model.name] = node.value;
  }
  return value;
}
