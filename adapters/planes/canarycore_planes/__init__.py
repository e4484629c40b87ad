"""Real data planes on one machine, without containers: the benches of `canary rehearse --plane`.

control_plane   etcd, kube-apiserver and kube-controller-manager as processes; a kubelet; a client
data_planes     Contour and Skipper: how each starts, and the objects that lead requests to a Canary
bench           a control plane with a data plane, Prometheus and a controller; the apps on it
pods            a kubelet whose pods are processes
app             the program in the pods of a bench
clients         clients that note every answer
network         a network namespace in which pods have addresses
programs        the programs of the planes, built once from Go modules
go_programs     builds with Go, and the cache for them
background      work in a thread while others go on
"""
