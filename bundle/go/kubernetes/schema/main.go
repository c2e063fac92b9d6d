//go:build reference

// Command schema prints the fields of the Kubernetes types that junioadm reads and patches: names, types, and how
// strategic merge patches treat lists. It reads them from the Go types by reflection, so that nothing is typed by hand.
//
// Run by scripts/schema.sh; its output is api/src/schema/types.json.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	kubeproxy "k8s.io/kube-proxy/config/v1alpha1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

// field is a type expression, or an object with it and the patch strategy.
type field struct {
	Type     string `json:"type"`
	Strategy string `json:"strategy,omitempty"`
	Key      string `json:"key,omitempty"`
}

func (f field) MarshalJSON() ([]byte, error) {
	if f.Strategy == "" && f.Key == "" {
		return json.Marshal(f.Type)
	}
	type plain field
	return json.Marshal(plain(f))
}

// special names the types that read and write JSON in their own way.
var special = map[string]string{
	"k8s.io/apimachinery/pkg/api/resource.Quantity":          "quantity",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":          "duration",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":              "time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":          "any",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString":        "int-or-string",
	"k8s.io/component-base/logs/api/v1.TimeOrMetaDuration":   "int-or-duration",
	"k8s.io/apimachinery/pkg/api/resource.QuantityValue":     "quantity",
	"k8s.io/component-base/logs/api/v1.VModuleConfiguration": "[]k8s.io/component-base/logs/api/v1.VModuleItem",
}

var unmarshaler = reflect.TypeOf((*json.Unmarshaler)(nil)).Elem()

var types = map[string]map[string]field{}

func main() {
	roots := map[string]any{
		"Pod": core.Pod{}, "Deployment": apps.Deployment{},
		"KubeletConfiguration": kubelet.KubeletConfiguration{}, "KubeProxyConfiguration": kubeproxy.KubeProxyConfiguration{},
	}
	names := map[string]string{}
	for name, value := range roots {
		names[name] = expression(reflect.TypeOf(value))
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(map[string]any{"roots": names, "types": types}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// expression names a type: a scalar, `[]X`, `{}X` for a map with values X, or a key of `types`.
func expression(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	full := t.PkgPath() + "." + t.Name()
	if name, known := special[full]; known {
		if strings.HasPrefix(name, "[]") {
			return "[]" + expression(t.Elem())
		}
		return name
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		panic(full + " reads JSON in its own way: name it in `special`")
	}
	switch t.Kind() {
	case reflect.Bool:
		return "bool"
	case reflect.String:
		return "string"
	case reflect.Int, reflect.Int64:
		return "int64"
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return t.Kind().String()
	case reflect.Uint:
		return "uint64"
	case reflect.Float32, reflect.Float64:
		return "float"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[]" + expression(t.Elem())
	case reflect.Map:
		return "{}" + expression(t.Elem())
	case reflect.Struct:
		structure(full, t)
		return short(full)
	}
	panic("no expression for " + full + " " + t.Kind().String())
}

// short drops the part of a package's path that all have.
func short(full string) string {
	parts := strings.Split(full, "/")
	if len(parts) < 2 {
		return full
	}
	return parts[len(parts)-2] + "/" + parts[len(parts)-1]
}

func structure(full string, t reflect.Type) {
	name := short(full)
	if _, done := types[name]; done {
		return
	}
	fields := map[string]field{}
	types[name] = fields
	collect(t, fields)
}

func collect(t reflect.Type, into map[string]field) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" || (!f.IsExported() && !f.Anonymous) {
			continue
		}
		if tag == "" && (f.Anonymous || strings.Contains(options, "inline")) {
			inner := f.Type
			for inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			collect(inner, into)
			continue
		}
		into[tag] = field{expression(f.Type), f.Tag.Get("patchStrategy"), f.Tag.Get("patchMergeKey")}
	}
}
