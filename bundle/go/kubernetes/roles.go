package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// bootstrapRoles prints, as a JSON array, every role and binding that the API server writes when it starts on an empty
// etcd. The API server does so one after another and begins a second late; the installer writes them all at once instead,
// and the API server finds nothing left to do. junio-bundle runs this once, when it builds a bundle.
func bootstrapRoles() *cobra.Command {
	return &cobra.Command{
		Use:  "bootstrap-roles",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			var objects []any
			typed := func(kind string) meta.TypeMeta {
				return meta.TypeMeta{APIVersion: rbac.SchemeGroupVersion.String(), Kind: kind}
			}
			for _, role := range append(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()...) {
				role.TypeMeta = typed("ClusterRole")
				objects = append(objects, role)
			}
			bindings := append(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()...)
			for _, binding := range bindings {
				binding.TypeMeta = typed("ClusterRoleBinding")
				objects = append(objects, binding)
			}
			roles := bootstrappolicy.NamespaceRoles()
			for _, namespace := range slices.Sorted(maps.Keys(roles)) {
				for _, role := range roles[namespace] {
					role.TypeMeta = typed("Role")
					objects = append(objects, role)
				}
			}
			roleBindings := bootstrappolicy.NamespaceRoleBindings()
			for _, namespace := range slices.Sorted(maps.Keys(roleBindings)) {
				for _, binding := range roleBindings[namespace] {
					binding.TypeMeta = typed("RoleBinding")
					objects = append(objects, binding)
				}
			}
			text, err := json.Marshal(objects)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(os.Stdout, string(text))
			return err
		},
	}
}
