package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// newNodeClient speaks the core/v1 API only: the generated clientset would link every API group, which doubles the
// binary for a program that touches nodes.
func newNodeClient(options options) (*rest.RESTClient, error) {
	config, err := clientcmd.BuildConfigFromFlags(options.kubeAPIURL, options.kubeconfigFile)
	if err != nil {
		return nil, fmt.Errorf("finding the Kubernetes API: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, v1.SchemeGroupVersion)
	config.GroupVersion = &v1.SchemeGroupVersion
	config.APIPath = "/api"
	config.UserAgent = "flanneld/" + version
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("Kubernetes client: %w", err)
	}
	return client, nil
}
